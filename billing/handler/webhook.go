package handler

import (
	"context"
	"net/http"
	"strings"

	"github.com/micro/micro/v3/proto/api"

	"github.com/m3o/backend/pkg/errors"
)

// signatureHeader is where Stripe's signature of the body is.
const signatureHeader = "Stripe-Signature"

// Webhook takes in what Stripe tells of. It is HTTP as it came; a caller by RPC may claim any of it, but cannot sign it.
func (h *Billing) Webhook(ctx context.Context, req *api.Request, rsp *api.Response) error {
	if req.Method != http.MethodPost {
		return errors.Invalid("method", "must be POST")
	}
	if err := h.core.Webhook(ctx, []byte(req.Body), headerOf(req, signatureHeader)); err != nil {
		return err
	}
	rsp.StatusCode = http.StatusOK
	rsp.Header = map[string]*api.Pair{"Content-Type": {Key: "Content-Type", Values: []string{"application/json"}}}
	rsp.Body = "{}"
	return nil
}

// headerOf returns a header that is there once; empty for one that is not, or several times: who signs, signs once.
func headerOf(req *api.Request, name string) string {
	value := ""
	for key, pair := range req.Header {
		if !strings.EqualFold(key, name) {
			continue
		}
		if value != "" || len(pair.GetValues()) != 1 {
			return ""
		}
		value = pair.Values[0]
	}
	return value
}
