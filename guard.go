package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// Guard lets signed-in users through and leaves their *Claims under ClaimsKey and in the context of
// the request, for ClaimsFrom.
// A page navigation without a session, which is a GET or HEAD whose Accept has text/html and
// whose Sec-Fetch-Mode, if there is one, is "navigate", is redirected to the sign-in route
// and comes back to the same page; anything else is answered 401, a form that a browser
// sends with a page and all others with a problem document (RFC 9457). A request with an
// unsafe method from another origin, or one that opens a WebSocket from there, is answered
// 403, and one whose session cannot be read 503. Config.OnError can draw these answers.
//
// The redirect sets a small cookie for a minute: of several tabs that come at the same time, one signs in,
// and the sign-in route lets the others wait for it, because Logto keeps one interaction for each
// application and browser.
//
// Without a sign-in route, because RegisterRoutes was not called or
// Paths.SignIn is "-", a page navigation is answered 401, too. A user who has to authenticate again
// (MaxAge) is then redirected to Logto.
//
// A session that Logto has not confirmed for Config.RevalidateAfter is refreshed
// first, one call to Logto; all other requests cost none.
//
// A user who does not meet all requirements is answered 403, and 503 if Logto has to be asked
// about them and cannot be. A claim that is missing from the ID token is looked for in user
// info, once between two refreshes of the session.
//
// No cache may store a guarded response. Only requests to the routes of RegisterRoutes and to
// WebhookHandler pass without a session, so that a whole router can be guarded. Outside must lie a
// callback route of the application's own, the page of Config.AfterSignOut, and what machines and
// visitors ask for, such as a readiness check. A CORS preflight request has no session and is
// answered 401, so a CORS middleware belongs before the guard. Guard panics if Config.BaseURL is
// empty, without which there are no sessions, and if Config.Scopes lack what a requirement needs.
func (a *Auth) Guard(requirements ...ClaimsRequirement) gin.HandlerFunc {
	a.mustHaveSessions("Guard")
	required := detailsOf(requirements)
	for _, one := range required {
		a.mustBeAbleToTell(one)
	}
	return func(c *gin.Context) {
		if isOwnRoute(c) {
			c.Next()
			return
		}
		p := a.enter(c, "Cookie", true)
		defer p.leave(c)
		if web.IsCrossOrigin(c.Request, a.origins) {
			p.deny(c)
			a.Refuse(c, ErrCrossOrigin)
			return
		}
		ctx := c.Request.Context()
		record, err := a.revalidated(ctx, &p.exchange)
		a.endIfLate(c, p)
		if err != nil {
			p.deny(c)
			a.refuseVisitor(c, err, required)
			return
		}
		claims, err := claimsOf(record)
		if err == nil && len(required) > 0 {
			err = (&subject{auth: a, c: c, ctx: ctx, x: &p.exchange, session: record, claims: claims}).meets(required)
			a.endIfLate(c, p)
			if err == nil { // the session may have ended meanwhile, or a requirement may have raised a doubt
				err = a.stillGood(ctx, &p.exchange)
			}
		}
		if err != nil {
			p.deny(c)
			a.refuseSubject(c, err, required)
			return
		}
		p.admit(c, identity{claims: claims})
		c.Next()
	}
}

// stillGood returns why the session of a request is not good enough any more, without a call to Logto.
func (a *Auth) stillGood(ctx context.Context, x *exchange) error {
	record, err := a.current(ctx, x)
	if err != nil {
		return err
	}
	return a.doubtAbout(record)
}

// meets returns the error for the first requirement that is not met.
func (s *subject) meets(requirements []*requirement) error {
	for _, one := range requirements {
		switch isMet, err := one.byClaims(s); {
		case err != nil:
			return err
		case !isMet:
			return &RequirementError{Requirement: one.name}
		}
	}
	return nil
}

// refuseVisitor refuses a request without a session. A visitor of a page with MaxAge starts
// the sign-in that it needs, and not one that would have to be followed by another.
func (a *Auth) refuseVisitor(c *gin.Context, err error, requirements []*requirement) {
	if a.isOwnCallback(c.Request) {
		a.Refuse(c, errGuardedCallback)
		return
	}
	c.Set(notHandled{}, true)
	a.refuse(c, err, session.Start{MaxAge: smallestAge(requirements)})
}

// isOwnCallback reports whether this is a callback, at the route of the application's own that
// SignInDefaults.RedirectURI names.
func (a *Auth) isOwnCallback(r *http.Request) bool {
	given := a.settings.SignInDefaults.RedirectURI
	uri, err := a.redirectURI(given)
	if given == "" || err != nil || !strings.HasPrefix(uri, a.settings.BaseURL+"/") || !a.isCallbackOf(r, uri) {
		return false
	}
	answer, err := parseCallback(r.URL.RawQuery)
	return err == nil && answer.state != "" && (answer.code != "" || answer.errorCode != "")
}

// errGuardedCallback is an ErrInvalidOptions: a redirect to the sign-in would lead back here.
var errGuardedCallback = fmt.Errorf("%w: the callback route in SignInDefaults.RedirectURI lies behind a guard, so that no sign-in can be finished; add the route before the guard, or to a group without one", ErrInvalidOptions)

// smallestAge is the age that satisfies all requirements of MaxAge, or 0 without one.
func smallestAge(requirements []*requirement) (smallest time.Duration) {
	for _, one := range requirements {
		if one.age != 0 && (smallest == 0 || one.age < smallest) {
			smallest = one.age
		}
	}
	return smallest
}

// notHandled is the key under which a request knows that a guard has refused it, so that
// nothing was done about what it has brought.
type notHandled struct{}

// refuseSubject sends a user who has to authenticate again through a sign-in, and refuses
// all others.
func (a *Auth) refuseSubject(c *gin.Context, err error, requirements []*requirement) {
	var tooOld *ageError
	if !errors.As(err, &tooOld) {
		a.Refuse(c, err)
		return
	}
	age := min(tooOld.age, cmp.Or(smallestAge(requirements), tooOld.age))
	isPage := web.IsNavigation(c.Request) && !web.IsHTMX(c.Request.Header)
	if isPage && a.routes.SignIn == "" {
		if !isWanted(c.Request.Header) {
			a.answerUnwanted(c)
		} else {
			// "login" alone would yield no refresh token.
			a.SignIn(c, SignInOptions{MaxAge: age, Prompt: PromptLoginConsent, ReturnTo: web.PathAndQuery(c.Request.URL)})
		}
		return
	}
	c.Set(notHandled{}, true)
	if !isPage {
		c.Header("WWW-Authenticate", fmt.Sprintf(`Bearer error="insufficient_user_authentication", max_age="%d"`, int(age.Seconds())))
	}
	a.refuse(c, err, session.Start{MaxAge: age, WantsLogin: true})
}

// mustBeAbleToTell panics if a session cannot tell whether a requirement is met.
func (a *Auth) mustBeAbleToTell(r *requirement) {
	switch {
	case r.byClaims == nil:
		panic("logtogin: a session cannot tell " + r.name)
	case r.scope != "" && !slices.Contains(a.settings.scopes, r.scope):
		panic(fmt.Sprintf("logtogin: %s needs the scope %q in Config.Scopes", r.name, r.scope))
	}
	for _, choice := range r.choices {
		a.mustBeAbleToTell(choice)
	}
}

// Optional leaves the *Claims of a signed-in user under ClaimsKey and lets
// everybody through. A request with an unsafe method from another origin counts
// as a visitor's. What a signed-in user gets may not be stored by caches. Sessions are
// refreshed as by Guard. If the session cannot be read the request goes on as a visitor's, and Claims
// returns the error. Optional panics if Config.BaseURL is empty, without which
// there are no sessions.
func (a *Auth) Optional() gin.HandlerFunc {
	a.mustHaveSessions("Optional")
	return func(c *gin.Context) {
		p := a.enter(c, "Cookie", false)
		defer p.leave(c)
		var who identity // what a guard of another Auth has left is not this one's
		if !web.IsCrossOrigin(c.Request, a.origins) {
			record, err := a.orVisitor(c.Request.Context(), &p.exchange, a.revalidated)
			if err == nil {
				who.claims, err = claimsOf(record)
			}
			if err != nil { // which Claims is to return
				known, _ := p.exchange.known.get(a)
				if known.session != nil {
					known.endedStart = known.session.StartedAt
				}
				p.exchange.known.set(knownSession{auth: a, err: err, endedStart: known.endedStart})
			}
		}
		a.endIfLate(c, p)
		p.response.dependOnSession(who.claims != nil)
		p.admit(c, who)
		c.Next()
	}
}

func (a *Auth) mustHaveSessions(what string) {
	if a.store == nil {
		panic("logtogin: " + what + " needs sessions, but Config.BaseURL is empty")
	}
}

// ClaimsFrom returns the claims of the user whom Guard or Optional has let through. The context
// is a *gin.Context, its Copy, one that is derived from it, or that of the request, which handlers
// below gin.WrapH get. ok is false for a visitor, without a guard, and if the last guard was
// Bearer. All who ask in one request share the claims: do not change them.
func ClaimsFrom(ctx context.Context) (claims *Claims, ok bool) {
	return leftByGuard(ctx, ClaimsKey, func(who *identity) *Claims { return who.claims })
}

// leftByGuard returns what the last guard has left for a context, in the context of the request or else under a key of
// the gin.Context.
func leftByGuard[T any](ctx context.Context, key string, of func(*identity) *T) (left *T, ok bool) {
	switch who, c := identityOf(ctx); {
	case who != nil:
		left = of(who)
	case c != nil:
		value, _ := c.Get(key)
		left, _ = value.(*T)
	}
	return left, left != nil
}
