package edge

import (
	"net/http"
	"strconv"

	"github.com/micro/micro/v3/service/errors"
	"github.com/micro/micro/v3/service/logger"
)

// id is the id of errors that the edge itself answers with, and clientID of those of Micro's client.
const (
	id       = "api"
	clientID = "go.micro.client"
)

// succeed writes an answer that is JSON already.
func succeed(w http.ResponseWriter, r *http.Request, body []byte) { write(w, r, http.StatusOK, body) }

// fail writes an error.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	e := public(err)
	if e.Code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, r, int(e.Code), []byte(e.Error()))
}

// countedLong is up to how many bytes net/http counts by itself what is written to it, for less. Beyond, it would send chunks.
const countedLong = 1024

var isJSON = []string{"application/json"}

func write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header()["Content-Type"] = isJSON
	if r.Method == http.MethodHead || len(body) > countedLong {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) //nolint:gosec // it is JSON, and browsers are told so; an error means that the caller has gone
	}
}

// public is the error as a caller may see it. What services answer is meant for callers; what Micro's client says of a
// call that it could not make tells of addresses and connections.
func public(err error) *errors.Error {
	e := errors.FromError(err)
	switch {
	case e.Code == http.StatusRequestTimeout && e.Id == clientID:
		return errors.FromError(errors.New(id, "the service did not answer in time", http.StatusGatewayTimeout))
	case e.Id == clientID || e.Code < 400 || e.Code > 599:
		logger.Errorf("A call failed on its way: %v", err)
		return errors.FromError(unavailable())
	}
	return e
}

func unavailable() error {
	return errors.New(id, "the service cannot be reached at the moment; try again", http.StatusServiceUnavailable)
}
