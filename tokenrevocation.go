package logtogin

import (
	"context"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// Refresh tokens are revoked at Logto (RFC 7009).

// politely bounds calls to Logto that are made for its sake: two seconds for all
// of them together. That the browser has gone does not end them.
func politely(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), logto.RevocationTimeout)
}

// revoke makes the refresh tokens of sessions worthless at Logto, which would
// otherwise outlive them. Its failure stops nothing.
func (a *Auth) revoke(ctx context.Context, ended []*session.Session) {
	for _, record := range ended {
		if record.RefreshToken == "" {
			continue
		}
		if err := a.provider.Revoke(ctx, record.RefreshToken); err != nil {
			a.settings.Logger.WarnContext(ctx, "logtogin: the refresh token could not be revoked", "error", err)
		}
	}
}
