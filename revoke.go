package logtogin

import (
	"cmp"
	"context"
	"fmt"

	"github.com/logtogin/logtogin/internal/session"
)

// How the application ends sessions.

// RevokeUser ends all sessions of a user that have started until now, in all browsers, for
// a button "sign out everywhere"; access tokens of the user that were issued until now
// are refused by Bearer and BearerOrganization. A later sign-in is not concerned, and
// Logto's own session is not ended: the browser that asks should be sent through SignOut.
// The subject is the user's ID in Logto, Claims.Subject.
//
// It holds at once at this instance, and within a second at those that have the same
// Config.SharedState, AppID and Secrets, until no such session or token can be left; without
// a shared state, until this instance restarts. What is "until now" is said by the clocks of
// the instances and, for access tokens, of Logto, which should be in step. The error is
// ErrInvalidOptions without a subject, or ErrStoreUnavailable if the other instances cannot be
// told at once, which then is tried again in the background.
func (a *Auth) RevokeUser(ctx context.Context, subject string) error {
	return a.revokeNow(ctx, session.RevokeUser, subject)
}

// RevokeSession is RevokeUser for the sessions here that belong to one session of Logto's,
// which is Claims.SessionID ("sid"). Logto names it only to applications with
// back-channel logout and "session required". Access tokens are not concerned.
func (a *Auth) RevokeSession(ctx context.Context, sessionID string) error {
	return a.revokeNow(ctx, session.RevokeLogtoSession, sessionID)
}

func (a *Auth) revokeNow(ctx context.Context, kind session.RevocationKind, name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is not said whose sessions to revoke", ErrInvalidOptions)
	}
	return a.revoke(ctx, session.Revocation{Kind: kind, Name: name})
}

// RevokeOtherSessions is RevokeUser for the user of a request, but for the session of that request, which goes on: for a
// button "sign out my other devices". Access tokens are not concerned, because it cannot be told which session they belong
// to. The context is as for Claims. It returns the errors of Claims and of RevokeUser.
func (a *Auth) RevokeOtherSessions(ctx context.Context) error {
	ctx, _, current, err := a.sessionOf(ctx)
	if err != nil {
		return err
	}
	return a.revoke(ctx, session.RevokeOthers(current))
}

// revoke makes a revocation known. The error is for whoever can try again.
func (a *Auth) revoke(ctx context.Context, made session.Revocation) (err error) {
	if !a.revocations.Record(ctx, made) {
		err = errStateUnavailable
	}
	a.settings.emit(ctx, Event{Kind: EventRevocation, Err: err, Cause: cmp.Or(made.Cause, made.Kind.String()), Subject: made.User()})
	return err
}

var errStateUnavailable = fmt.Errorf("%w: the shared state does not answer, so that the other instances cannot be told of a revocation", ErrStoreUnavailable)
