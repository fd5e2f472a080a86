package handler

import (
	"context"
	stderrors "errors"
	"time"

	pb "github.com/m3o/backend/customers/proto"
	"github.com/m3o/backend/customers/service"
	"github.com/m3o/backend/pkg/errors"
)

// KeyCore is what the handlers of Keys need of the core.
type KeyCore interface {
	Generate(ctx context.Context, n service.NewKey) (key service.Key, text string, err error)
	List(ctx context.Context, customerID string) ([]service.Key, error)
	Revoke(ctx context.Context, customerID, keyID string) error
	Rotate(ctx context.Context, r service.Rotation) (key service.Key, text string, err error)
	Block(ctx context.Context, customerID, keyID, message string) error
	Unblock(ctx context.Context, customerID, keyID string) error
	Verify(ctx context.Context, text string) (service.Key, error)
}

// KeysConfig is what NewKeys needs.
type KeysConfig struct {
	// Core keeps the keys.
	Core KeyCore
}

// Validate returns an error that says what is missing.
func (c KeysConfig) Validate() error {
	if c.Core == nil {
		return stderrors.New("keys: the core is missing")
	}
	return nil
}

// Keys handles the RPCs of the proto service of that name.
type Keys struct{ core KeyCore }

var _ pb.KeysHandler = (*Keys)(nil)

// NewKeys returns the handlers, or an error when the configuration is not valid.
func NewKeys(cfg KeysConfig) (*Keys, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Keys{core: cfg.Core}, nil
}

// GenerateKey makes a key.
func (h *Keys) GenerateKey(ctx context.Context, req *pb.GenerateKeyRequest, rsp *pb.GenerateKeyResponse) error {
	key, text, err := h.core.Generate(ctx, service.NewKey{
		CustomerID: req.CustomerId, Scopes: req.Scopes, Description: req.Description, Expires: req.ExpiresAt,
	})
	if err != nil {
		return err
	}
	rsp.ApiKey, rsp.ApiKeyId = text, key.ID
	return nil
}

// ListKeys returns a customer's keys.
func (h *Keys) ListKeys(ctx context.Context, req *pb.ListKeysRequest, rsp *pb.ListKeysResponse) error {
	keys, err := h.core.List(ctx, req.CustomerId)
	if err != nil {
		return err
	}
	for _, k := range keys {
		rsp.Keys = append(rsp.Keys, &pb.Key{
			Id: k.ID, Prefix: k.Prefix, Scopes: k.Scopes, Description: k.Description,
			Created: k.Created.Unix(), ExpiresAt: unixOrNever(k.Expires), RotatedTo: k.RotatedTo,
			Blocked: k.Blocked, LastSeen: unixOrNever(k.LastSeen),
		})
	}
	return nil
}

// RevokeKey ends a key.
func (h *Keys) RevokeKey(ctx context.Context, req *pb.RevokeKeyRequest, _ *pb.RevokeKeyResponse) error {
	return h.core.Revoke(ctx, req.CustomerId, req.Id)
}

// RotateKey makes a key in the place of another.
func (h *Keys) RotateKey(ctx context.Context, req *pb.RotateKeyRequest, rsp *pb.RotateKeyResponse) error {
	key, text, err := h.core.Rotate(ctx, service.Rotation{CustomerID: req.CustomerId, KeyID: req.Id, Grace: req.GraceSeconds})
	if err != nil {
		return err
	}
	rsp.ApiKey, rsp.ApiKeyId = text, key.ID
	return nil
}

// BlockKey has callers with a key refused.
func (h *Keys) BlockKey(ctx context.Context, req *pb.BlockKeyRequest, _ *pb.BlockKeyResponse) error {
	return h.core.Block(ctx, req.CustomerId, req.KeyId, req.Message)
}

// UnblockKey makes a key as good as it was.
func (h *Keys) UnblockKey(ctx context.Context, req *pb.UnblockKeyRequest, _ *pb.UnblockKeyResponse) error {
	return h.core.Unblock(ctx, req.CustomerId, req.KeyId)
}

// VerifyKey tells whose a key is.
func (h *Keys) VerifyKey(ctx context.Context, req *pb.VerifyKeyRequest, rsp *pb.VerifyKeyResponse) error {
	k, err := h.core.Verify(ctx, req.ApiKey)
	if err != nil {
		return err
	}
	if k.Blocked != "" {
		return errors.Forbidden("%s%s", pb.KeyIsBlocked, k.Blocked)
	}
	rsp.CustomerId, rsp.ApiKeyId, rsp.Scopes, rsp.ExpiresAt = k.CustomerID, k.ID, k.Scopes, unixOrNever(k.Expires)
	return nil
}

// unixOrNever is a time on the wire: 0 for never, which is the zero time.
func unixOrNever(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
