// Package faults has the ways in which a server of logtotest can misbehave:
//
//	logto := logtotest.NewServer(t)
//	router := newRouter(logto.Config("https://app.example.com"))
//	logto.Misbehave(faults.AccessDenied)
//	response, err := logto.Browser(t, router, logtotest.DefaultUser()).Get("/profile")
//	…
//
// Several faults add up. For anything else, a test makes a logtotest.Fault of its own,
// or uses the Change methods of the server and Intercept.
package faults

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/logtogin/logtogin/logtotest"
)

// Faults of ID tokens.
var (
	WrongIssuer      = idToken("WrongIssuer", "oidcc-client-test-invalid-iss", claims(appended("iss", "1")))
	MissingIssuer    = idToken("MissingIssuer", "fapi2-security-profile-final-client-test-invalid-missing-iss", claims(without("iss")))
	MissingSubject   = idToken("MissingSubject", "oidcc-client-test-missing-sub", claims(without("sub")))
	WrongAudience    = idToken("WrongAudience", "oidcc-client-test-invalid-aud", claims(appended("aud", "1")))
	MissingAudience  = idToken("MissingAudience", "fapi2-security-profile-final-client-test-invalid-missing-aud", claims(without("aud")))
	SecondAudience   = idToken("SecondAudience", "fapi2-security-profile-final-client-test-invalid-secondary-aud", claims(listed("aud", "another")))
	MissingIssuedAt  = idToken("MissingIssuedAt", "oidcc-client-test-missing-iat", claims(without("iat")))
	MissingExpiry    = idToken("MissingExpiry", "fapi2-security-profile-final-client-test-invalid-missing-exp", claims(without("exp")))
	ExpiredToken     = idToken("ExpiredToken", "fapi2-security-profile-final-client-test-invalid-expired-exp", expired)
	WrongNonce       = idToken("WrongNonce", "oidcc-client-test-nonce-invalid", claims(appended("nonce", "1")))
	MissingNonce     = idToken("MissingNonce", "fapi2-security-profile-final-client-test-invalid-missing-nonce", claims(without("nonce")))
	WrongTokenHash   = idToken("WrongTokenHash", "oidcc-client-test-invalid-athash", claims(with("at_hash", "invalid")))
	UnsignedToken    = idToken("UnsignedToken", "oidcc-client-test-idtoken-sig-none fapi2-security-profile-final-client-test-invalid-null-alg", unsigned)
	WrongSignature   = idToken("WrongSignature", "oidcc-client-test-invalid-sig-es256 oidcc-client-test-invalid-sig-rs256", wrongSignature)
	HMACSignature    = idToken("HMACSignature", "oidcc-client-test-invalid-sig-hs256", hmacSignature)
	WrongAlgorithm   = idToken("WrongAlgorithm", "", header(with("alg", "ES256")))
	NullAlgorithm    = idToken("NullAlgorithm", "", header(with("alg", nil)))
	UnknownKey       = idToken("UnknownKey", "", header(with("kid", "unknown")))
	CriticalHeader   = idToken("CriticalHeader", "", header(with("crit", []string{"exp"})))
	AudienceAsList   = harmless(idToken("AudienceAsList", "fapi2-security-profile-final-client-test-valid-aud-as-array", claims(listed("aud"))))
	MissingKeyID     = harmless(idToken("MissingKeyID", "oidcc-client-test-kid-absent-single-jwks", header(without("kid"))))
	AdditionalClaims = harmless(idToken("AdditionalClaims", "", claims(with("ignored_claim", map[string]any{"a": []any{1}}))))
)

// Faults of the token endpoint's answer.
var (
	MissingIDToken      = document("MissingIDToken", logtotest.Token, "", without("id_token"))
	WrongTokenType      = document("WrongTokenType", logtotest.Token, "", with("token_type", "DPoP"))
	OddTokenTypeCase    = harmless(document("OddTokenTypeCase", logtotest.Token, "fapi2-security-profile-final-client-test-token-type-case-insensitivity", with("token_type", "bEARER")))
	MissingExpiresIn    = harmless(document("MissingExpiresIn", logtotest.Token, "fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in", without("expires_in")))
	MissingScope        = harmless(document("MissingScope", logtotest.Token, "", without("scope")))
	MissingRefreshToken = harmless(document("MissingRefreshToken", logtotest.Token, "", without("refresh_token")))
)

// Faults of user info.
var (
	WrongUserInfoSubject   = document("WrongUserInfoSubject", logtotest.UserInfo, "oidcc-client-test-userinfo-invalid-sub", appended("sub", "invalid"))
	MissingUserInfoSubject = document("MissingUserInfoSubject", logtotest.UserInfo, "", without("sub"))
)

// Faults of discovery and of the key set.
var (
	WrongDiscoveryIssuer = document("WrongDiscoveryIssuer", logtotest.Discovery, "oidcc-client-test-discovery-issuer-mismatch", appended("issuer", "INVALID"))
	MissingTokenEndpoint = document("MissingTokenEndpoint", logtotest.Discovery, "", without("token_endpoint"))
	NoKeys               = document("NoKeys", logtotest.Keys, "", with("keys", []any{}))
	SymmetricKeys        = document("SymmetricKeys", logtotest.Keys, "", with("keys", []any{map[string]any{"kty": "oct", "k": "AAAA"}}))
	UnknownKeyTypes      = harmless(document("UnknownKeyTypes", logtotest.Keys, "", func(set map[string]any) {
		set["keys"] = append([]any{map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}, 7, nil}, set["keys"].([]any)...)
	}))
)

// Faults of the callback.
var (
	WrongCallbackIssuer   = callback("WrongCallbackIssuer", "fapi2-security-profile-final-client-test-invalid-authorization-response-iss", func(p url.Values) { p.Set("iss", p.Get("iss")+"1") })
	MissingCallbackIssuer = callback("MissingCallbackIssuer", "fapi2-security-profile-final-client-test-remove-authorization-response-iss", func(p url.Values) { p.Del("iss") })
	WrongState            = callback("WrongState", "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails", func(p url.Values) { p.Set("state", p.Get("state")+"1") })
	MissingState          = callback("MissingState", "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails", func(p url.Values) { p.Del("state") })
	MissingCode           = callback("MissingCode", "", func(p url.Values) { p.Del("code") })
	WrongCode             = callback("WrongCode", "", func(p url.Values) { p.Set("code", p.Get("code")+"1") })
	AccessDenied          = callback("AccessDenied", "", func(p url.Values) { p.Del("code"); p.Set("error", "access_denied") })
	Cancelled             = callback("Cancelled", "", func(p url.Values) { clear(p) })
)

// Faults of endpoints. Down answers 503 everywhere, the others at one endpoint.
var (
	Down = unavailable("Down", logtotest.StageSignIn, logtotest.Discovery, logtotest.Keys, logtotest.Authorization, logtotest.Token,
		logtotest.UserInfo, logtotest.Revocation, logtotest.Introspection, logtotest.EndSession)
	DiscoveryDown  = unavailable("DiscoveryDown", logtotest.StageSignIn, logtotest.Discovery)
	KeysDown       = unavailable("KeysDown", logtotest.StageSignIn, logtotest.Keys)
	TokenDown      = unavailable("TokenDown", logtotest.StageSignIn, logtotest.Token)
	UserInfoDown   = unavailable("UserInfoDown", logtotest.StageUserInfo, logtotest.UserInfo)
	RevocationDown = harmless(unavailable("RevocationDown", logtotest.StageSignOut, logtotest.Revocation))

	// SlowToken answers only when the caller has given up, which an application does
	// after 10 s of real time, whatever the server's clock says.
	SlowToken = tokenEndpoint("SlowToken", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	// HugeBody never stops to answer.
	HugeBody = tokenEndpoint("HugeBody", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	BrokenConnection = tokenEndpoint("BrokenConnection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	HTMLBody         = tokenEndpoint("HTMLBody", answer(http.StatusOK, "text/html", "<h1>Maintenance</h1>"))
	// QuotaExceeded is an error of Logto Cloud, which has no "error" member.
	QuotaExceeded = tokenEndpoint("QuotaExceeded", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		answer(http.StatusTooManyRequests, jsonType, `{"code":"auth.exceed_token_limit","message":"Token limit exceeded."}`)(w, r)
	})
	// ExpiredSecret is what Logto says when the application's secret has expired.
	ExpiredSecret = tokenEndpoint("ExpiredSecret", answer(http.StatusBadRequest, jsonType,
		`{"code":"oidc.invalid_request","message":"Request is invalid.","error":"invalid_request","error_description":"client secret has expired"}`))
	// Redirecting sends token requests, and what is in them, to another origin.
	Redirecting = tokenEndpoint("Redirecting", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost:1/oidc/token", http.StatusTemporaryRedirect)
	})
)

// Faults of logout tokens.
var (
	LogoutTokenUnsigned       = logoutToken("LogoutTokenUnsigned", "oidcc-client-test-rp-backchannel-rpinitlogout-alg-none", unsigned)
	LogoutTokenWrongAlgorithm = logoutToken("LogoutTokenWrongAlgorithm", "", hmacSignature)
	LogoutTokenNoEvent        = logoutToken("LogoutTokenNoEvent", "oidcc-client-test-rp-backchannel-rpinitlogout-no-event", claims(without("events")))
	LogoutTokenWrongEvent     = logoutToken("LogoutTokenWrongEvent", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event",
		claims(with("events", map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}})))
	LogoutTokenWithNonce     = logoutToken("LogoutTokenWithNonce", "oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce", claims(with("nonce", "n")))
	LogoutTokenWrongAudience = logoutToken("LogoutTokenWrongAudience", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud", claims(appended("aud", "1")))
	LogoutTokenWrongIssuer   = logoutToken("LogoutTokenWrongIssuer", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss", claims(appended("iss", "1")))
	LogoutTokenExpired       = logoutToken("LogoutTokenExpired", "", expired)
	LogoutTokenNoExpiry      = harmless(logoutToken("LogoutTokenNoExpiry", "", claims(without("exp")))) // Logto 1.41 and older
)

// All returns all faults. To see what an application does amid the faults of a sign-in, for
// example:
//
//	for _, fault := range faults.All() {
//		if fault.Stage != logtotest.StageSignIn || fault.Harmless || fault.Name == "SlowToken" {
//			continue
//		}
//		logto := logtotest.NewServer(t)
//		logto.Misbehave(fault)
//		client := logto.Browser(t, newRouter(logto.Config("https://app.example.com")), logtotest.DefaultUser())
//		…
//	}
func All() []logtotest.Fault {
	return []logtotest.Fault{
		WrongIssuer, MissingIssuer, MissingSubject, WrongAudience, MissingAudience, SecondAudience, MissingIssuedAt, MissingExpiry, ExpiredToken,
		WrongNonce, MissingNonce, WrongTokenHash, UnsignedToken, WrongSignature, HMACSignature, WrongAlgorithm, NullAlgorithm, UnknownKey, CriticalHeader,
		AudienceAsList, MissingKeyID, AdditionalClaims,
		MissingIDToken, WrongTokenType, OddTokenTypeCase, MissingExpiresIn, MissingScope, MissingRefreshToken,
		WrongUserInfoSubject, MissingUserInfoSubject,
		WrongDiscoveryIssuer, MissingTokenEndpoint, NoKeys, SymmetricKeys, UnknownKeyTypes,
		WrongCallbackIssuer, MissingCallbackIssuer, WrongState, MissingState, MissingCode, WrongCode, AccessDenied, Cancelled,
		Down, DiscoveryDown, KeysDown, TokenDown, UserInfoDown, RevocationDown,
		SlowToken, HugeBody, BrokenConnection, HTMLBody, QuotaExceeded, ExpiredSecret, Redirecting,
		LogoutTokenUnsigned, LogoutTokenWrongAlgorithm, LogoutTokenNoEvent, LogoutTokenWrongEvent, LogoutTokenWithNonce,
		LogoutTokenWrongAudience, LogoutTokenWrongIssuer, LogoutTokenExpired, LogoutTokenNoExpiry,
	}
}

func idToken(name, conformance string, change func(*logtotest.Server, *logtotest.JWT)) logtotest.Fault {
	return logtotest.Fault{Name: name, Stage: logtotest.StageSignIn, Conformance: conformance, IDToken: change}
}

func logoutToken(name, conformance string, change func(*logtotest.Server, *logtotest.JWT)) logtotest.Fault {
	return logtotest.Fault{Name: name, Stage: logtotest.StageBackchannelLogout, Conformance: conformance, LogoutToken: change}
}

func document(name string, endpoint logtotest.Endpoint, conformance string, change func(map[string]any)) logtotest.Fault {
	stage := logtotest.StageSignIn
	if endpoint == logtotest.UserInfo {
		stage = logtotest.StageUserInfo
	}
	return logtotest.Fault{Name: name, Stage: stage, Conformance: conformance, Documents: map[logtotest.Endpoint]func(map[string]any){endpoint: change}}
}

func callback(name, conformance string, change func(url.Values)) logtotest.Fault {
	return logtotest.Fault{Name: name, Stage: logtotest.StageSignIn, Conformance: conformance, Callback: change}
}

func tokenEndpoint(name string, handler http.HandlerFunc) logtotest.Fault {
	return logtotest.Fault{Name: name, Stage: logtotest.StageSignIn, Answers: map[logtotest.Endpoint]http.HandlerFunc{logtotest.Token: handler}}
}

func unavailable(name string, stage logtotest.Stage, endpoints ...logtotest.Endpoint) logtotest.Fault {
	fault := logtotest.Fault{Name: name, Stage: stage, Answers: map[logtotest.Endpoint]http.HandlerFunc{}}
	for _, endpoint := range endpoints {
		fault.Answers[endpoint] = func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		}
	}
	return fault
}

func harmless(fault logtotest.Fault) logtotest.Fault {
	fault.Harmless = true
	return fault
}

const jsonType = "application/json; charset=utf-8"

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func claims(change func(map[string]any)) func(*logtotest.Server, *logtotest.JWT) {
	return func(_ *logtotest.Server, token *logtotest.JWT) { change(token.Claims) }
}

func header(change func(map[string]any)) func(*logtotest.Server, *logtotest.JWT) {
	return func(_ *logtotest.Server, token *logtotest.JWT) { change(token.Header) }
}

func with(member string, value any) func(map[string]any) {
	return func(object map[string]any) { object[member] = value }
}

func without(member string) func(map[string]any) {
	return func(object map[string]any) { delete(object, member) }
}

// appended is the suite's way to make a value wrong, so that comparisons of
// beginnings are caught.
func appended(member, suffix string) func(map[string]any) {
	return func(object map[string]any) {
		text, _ := object[member].(string)
		object[member] = text + suffix
	}
}

func listed(member string, others ...any) func(map[string]any) {
	return func(object map[string]any) { object[member] = append([]any{object[member]}, others...) }
}

func expired(s *logtotest.Server, token *logtotest.JWT) {
	token.Claims["exp"] = s.Now().Unix() - 6*60
}

func unsigned(_ *logtotest.Server, token *logtotest.JWT) {
	token.Header["alg"], token.Algorithm = "none", "none"
}

// hmacSignature signs with the application's secret, which both sides know.
func hmacSignature(s *logtotest.Server, token *logtotest.JWT) {
	token.Header["alg"], token.Algorithm, token.Key = "HS256", "HS256", []byte(s.AppSecret())
}

func wrongSignature(_ *logtotest.Server, token *logtotest.JWT) {
	other := maps.Clone(token.Claims)
	other["jti"] = rand.Text()
	signed, err := logtotest.SignToken(token.Algorithm, token.Key, token.Header, other)
	honest, err2 := logtotest.SignToken(token.Algorithm, token.Key, token.Header, token.Claims)
	if err != nil || err2 != nil {
		return
	}
	token.Raw = honest[:strings.LastIndexByte(honest, '.')] + signed[strings.LastIndexByte(signed, '.'):]
}
