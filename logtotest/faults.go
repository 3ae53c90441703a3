package logtotest

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Fault is one way in which a server can misbehave; give it to
// Server.Misbehave. Faults lists them all.
type Fault struct {
	// Name is the name of the variable, for the names of tests.
	Name string
	// Conformance are the tests of the OpenID Foundation's conformance suite for
	// relying parties in which the provider does the same, "" if there is none.
	Conformance string
	// Stage is what an application is doing when it meets it.
	Stage Stage
	// Harmless says that an application has to cope with it: what it is doing must
	// work. With any other fault it must fail.
	Harmless bool

	idToken, logoutToken  func(*Server, *JWT)
	discovery, keys       func(map[string]any)
	tokenAnswer, userInfo func(map[string]any)
	callback              func(url.Values)
	intercept             map[Endpoint]http.HandlerFunc
}

// Stage is what an application is doing when it meets a fault.
type Stage string

const (
	// StageSignIn is everything on the way to a session: metadata, keys, the callback
	// and its tokens. An application keeps metadata and keys for a while; faults of
	// theirs show in one that has just been started.
	StageSignIn Stage = "sign-in"
	// StageUserInfo is asking for user info when the user is signed in.
	StageUserInfo Stage = "user info"
	// StageSignOut is a sign-out, with the revocation of tokens.
	StageSignOut Stage = "sign-out"
	// StageBackchannelLogout is taking a logout token.
	StageBackchannelLogout Stage = "back-channel logout"
)

// Misbehave makes the server have these faults and no others. The hooks of the
// Change methods and of Intercept that they need are replaced.
func (s *Server) Misbehave(faults ...Fault) {
	s.Behave()
	for _, fault := range faults {
		s.add(fault)
	}
}

// Behave makes the server honest again: it removes every fault and every hook.
// Applications remember that metadata or keys could not be had for a second by their
// clock; Advance moves it past that.
func (s *Server) Behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = hooks{}
}

// add puts a fault behind those that are there.
func (s *Server) add(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.hooks
	f.idToken = s.both(f.idToken, fault.idToken)
	f.logoutToken = s.both(f.logoutToken, fault.logoutToken)
	f.discovery = then(f.discovery, fault.discovery)
	f.keys = then(f.keys, fault.keys)
	f.tokenAnswer = then(f.tokenAnswer, fault.tokenAnswer)
	f.userInfo = then(f.userInfo, fault.userInfo)
	if change := fault.callback; change != nil {
		before := f.callback
		f.callback = func(parameters url.Values) url.Values {
			if before != nil {
				parameters = before(parameters)
			}
			change(parameters)
			return parameters
		}
	}
	for endpoint, handler := range fault.intercept {
		f.intercept[endpoint] = func(w http.ResponseWriter, r *http.Request, _ http.Handler) { handler(w, r) }
	}
}

func (s *Server) both(before func(*JWT), change func(*Server, *JWT)) func(*JWT) {
	if change == nil {
		return before
	}
	return func(token *JWT) {
		if before != nil {
			before(token)
		}
		change(s, token)
	}
}

func then(before func(map[string]any) any, change func(map[string]any)) func(map[string]any) any {
	if change == nil {
		return before
	}
	return func(document map[string]any) any {
		if before != nil {
			if changed, ok := before(document).(map[string]any); ok {
				document = changed
			}
		}
		change(document)
		return document
	}
}

// Faults of ID tokens.
var (
	WrongIssuer      = idTokenFault("WrongIssuer", "oidcc-client-test-invalid-iss", appended("iss"))
	MissingIssuer    = idTokenFault("MissingIssuer", "fapi2-security-profile-final-client-test-invalid-missing-iss", without("iss"))
	MissingSubject   = idTokenFault("MissingSubject", "oidcc-client-test-missing-sub", without("sub"))
	WrongAudience    = idTokenFault("WrongAudience", "oidcc-client-test-invalid-aud", appended("aud"))
	MissingAudience  = idTokenFault("MissingAudience", "fapi2-security-profile-final-client-test-invalid-missing-aud", without("aud"))
	SecondAudience   = idTokenFault("SecondAudience", "fapi2-security-profile-final-client-test-invalid-secondary-aud", secondAudience)
	MissingIssuedAt  = idTokenFault("MissingIssuedAt", "oidcc-client-test-missing-iat", without("iat"))
	MissingExpiry    = idTokenFault("MissingExpiry", "fapi2-security-profile-final-client-test-invalid-missing-exp", without("exp"))
	ExpiredToken     = idTokenFault("ExpiredToken", "fapi2-security-profile-final-client-test-invalid-expired-exp", expired)
	WrongNonce       = idTokenFault("WrongNonce", "oidcc-client-test-nonce-invalid", appended("nonce"))
	MissingNonce     = idTokenFault("MissingNonce", "fapi2-security-profile-final-client-test-invalid-missing-nonce", without("nonce"))
	WrongTokenHash   = idTokenFault("WrongTokenHash", "oidcc-client-test-invalid-athash", func(_ *Server, token *JWT) { token.Claims["at_hash"] = "invalid" })
	UnsignedToken    = idTokenFault("UnsignedToken", "oidcc-client-test-idtoken-sig-none fapi2-security-profile-final-client-test-invalid-null-alg", unsigned)
	WrongSignature   = idTokenFault("WrongSignature", "oidcc-client-test-invalid-sig-es256 oidcc-client-test-invalid-sig-rs256", wrongSignature)
	HMACSignature    = idTokenFault("HMACSignature", "oidcc-client-test-invalid-sig-hs256", hmacSignature)
	WrongAlgorithm   = idTokenFault("WrongAlgorithm", "", func(_ *Server, token *JWT) { token.Header["alg"] = "ES256" })
	NullAlgorithm    = idTokenFault("NullAlgorithm", "", func(_ *Server, token *JWT) { token.Header["alg"] = nil })
	UnknownKey       = idTokenFault("UnknownKey", "", func(_ *Server, token *JWT) { token.Header["kid"] = "unknown" })
	CriticalHeader   = idTokenFault("CriticalHeader", "", func(_ *Server, token *JWT) { token.Header["crit"] = []string{"exp"} })
	AudienceAsList   = harmless(idTokenFault("AudienceAsList", "fapi2-security-profile-final-client-test-valid-aud-as-array", func(_ *Server, token *JWT) { token.Claims["aud"] = []any{token.Claims["aud"]} }))
	MissingKeyID     = harmless(idTokenFault("MissingKeyID", "oidcc-client-test-kid-absent-single-jwks", func(_ *Server, token *JWT) { delete(token.Header, "kid") }))
	AdditionalClaims = harmless(idTokenFault("AdditionalClaims", "", func(_ *Server, token *JWT) { token.Claims["ignored_claim"] = map[string]any{"a": []any{1}} }))
)

// Faults of the token endpoint's answer.
var (
	MissingIDToken      = answerFault("MissingIDToken", "", func(answer map[string]any) { delete(answer, "id_token") })
	WrongTokenType      = answerFault("WrongTokenType", "", func(answer map[string]any) { answer["token_type"] = "DPoP" })
	OddTokenTypeCase    = harmless(answerFault("OddTokenTypeCase", "fapi2-security-profile-final-client-test-token-type-case-insensitivity", func(answer map[string]any) { answer["token_type"] = "bEARER" }))
	MissingExpiresIn    = harmless(answerFault("MissingExpiresIn", "fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in", func(answer map[string]any) { delete(answer, "expires_in") }))
	MissingScope        = harmless(answerFault("MissingScope", "", func(answer map[string]any) { delete(answer, "scope") }))
	MissingRefreshToken = harmless(answerFault("MissingRefreshToken", "", func(answer map[string]any) { delete(answer, "refresh_token") }))
)

// Faults of user info.
var (
	WrongUserInfoSubject   = userInfoFault("WrongUserInfoSubject", "oidcc-client-test-userinfo-invalid-sub", func(info map[string]any) { info["sub"] = text(info["sub"]) + "invalid" })
	MissingUserInfoSubject = userInfoFault("MissingUserInfoSubject", "", func(info map[string]any) { delete(info, "sub") })
)

// Faults of discovery and of the key set.
var (
	WrongDiscoveryIssuer = Fault{Name: "WrongDiscoveryIssuer", Stage: StageSignIn, Conformance: "oidcc-client-test-discovery-issuer-mismatch",
		discovery: func(document map[string]any) { document["issuer"] = text(document["issuer"]) + "INVALID" }}
	MissingTokenEndpoint = Fault{Name: "MissingTokenEndpoint", Stage: StageSignIn, discovery: func(document map[string]any) { delete(document, "token_endpoint") }}
	NoKeys               = Fault{Name: "NoKeys", Stage: StageSignIn, keys: func(set map[string]any) { set["keys"] = []any{} }}
	SymmetricKeys        = Fault{Name: "SymmetricKeys", Stage: StageSignIn, keys: func(set map[string]any) { set["keys"] = []any{map[string]any{"kty": "oct", "k": "AAAA"}} }}
	UnknownKeyTypes      = Fault{Name: "UnknownKeyTypes", Stage: StageSignIn, Harmless: true, keys: func(set map[string]any) {
		set["keys"] = append([]any{map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}, 7, nil}, set["keys"].([]any)...)
	}}
)

// Faults of the callback.
var (
	WrongCallbackIssuer   = callbackFault("WrongCallbackIssuer", "fapi2-security-profile-final-client-test-invalid-authorization-response-iss", func(p url.Values) { p.Set("iss", p.Get("iss")+"1") })
	MissingCallbackIssuer = callbackFault("MissingCallbackIssuer", "fapi2-security-profile-final-client-test-remove-authorization-response-iss", func(p url.Values) { p.Del("iss") })
	WrongState            = callbackFault("WrongState", "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails", func(p url.Values) { p.Set("state", p.Get("state")+"1") })
	MissingState          = callbackFault("MissingState", "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails", func(p url.Values) { p.Del("state") })
	MissingCode           = callbackFault("MissingCode", "", func(p url.Values) { p.Del("code") })
	WrongCode             = callbackFault("WrongCode", "", func(p url.Values) { p.Set("code", p.Get("code")+"1") })
	AccessDenied          = callbackFault("AccessDenied", "", func(p url.Values) { p.Del("code"); p.Set("error", "access_denied") })
	Cancelled             = callbackFault("Cancelled", "", func(p url.Values) { clear(p) })
)

// Faults of endpoints. Down answers 503 everywhere, the others at one endpoint.
var (
	Down           = unavailable("Down", StageSignIn, Discovery, Keys, Authorization, Token, UserInfo, Revocation, Introspection, EndSession)
	DiscoveryDown  = unavailable("DiscoveryDown", StageSignIn, Discovery)
	KeysDown       = unavailable("KeysDown", StageSignIn, Keys)
	TokenDown      = unavailable("TokenDown", StageSignIn, Token)
	UserInfoDown   = unavailable("UserInfoDown", StageUserInfo, UserInfo)
	RevocationDown = harmless(unavailable("RevocationDown", StageSignOut, Revocation))

	// SlowToken answers only when the caller has given up, which an application does
	// after 10 s of real time, whatever the server's clock says.
	SlowToken = tokenFault("SlowToken", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	// HugeBody never stops to answer.
	HugeBody = tokenFault("HugeBody", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	BrokenConnection = tokenFault("BrokenConnection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	HTMLBody         = tokenFault("HTMLBody", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<h1>Maintenance</h1>"))
	})
	// QuotaExceeded is an error of Logto Cloud, which has no "error" member.
	QuotaExceeded = tokenFault("QuotaExceeded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		writeJSON(w, http.StatusTooManyRequests, "application/json; charset=utf-8",
			map[string]any{"code": "auth.exceed_token_limit", "message": "Token limit exceeded."})
	})
	// ExpiredSecret is what Logto says when the application's secret has expired.
	ExpiredSecret = tokenFault("ExpiredSecret", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, invalidRequest("client secret has expired"))
	})
	// Redirecting sends token requests, and what is in them, to another origin.
	Redirecting = tokenFault("Redirecting", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost:1/oidc/token", http.StatusTemporaryRedirect)
	})
)

// Faults of logout tokens.
var (
	LogoutTokenUnsigned       = logoutTokenFault("LogoutTokenUnsigned", "oidcc-client-test-rp-backchannel-rpinitlogout-alg-none", unsigned)
	LogoutTokenWrongAlgorithm = logoutTokenFault("LogoutTokenWrongAlgorithm", "", hmacSignature)
	LogoutTokenNoEvent        = logoutTokenFault("LogoutTokenNoEvent", "oidcc-client-test-rp-backchannel-rpinitlogout-no-event", without("events"))
	LogoutTokenWrongEvent     = logoutTokenFault("LogoutTokenWrongEvent", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event", func(_ *Server, token *JWT) {
		token.Claims["events"] = map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}}
	})
	LogoutTokenWithNonce     = logoutTokenFault("LogoutTokenWithNonce", "oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce", func(_ *Server, token *JWT) { token.Claims["nonce"] = "n" })
	LogoutTokenWrongAudience = logoutTokenFault("LogoutTokenWrongAudience", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud", appended("aud"))
	LogoutTokenWrongIssuer   = logoutTokenFault("LogoutTokenWrongIssuer", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss", appended("iss"))
	LogoutTokenExpired       = logoutTokenFault("LogoutTokenExpired", "", expired)
	LogoutTokenNoExpiry      = harmless(logoutTokenFault("LogoutTokenNoExpiry", "", without("exp"))) // Logto 1.41 and older
)

// Faults are all of them. What an application does amid those of a sign-in, for
// example:
//
//	for _, fault := range logtotest.Faults() {
//		if fault.Stage != logtotest.StageSignIn || fault.Harmless || fault.Name == "SlowToken" {
//			continue
//		}
//		logto := logtotest.NewServer(t)
//		logto.Misbehave(fault)
//		client := logto.Browser(t, newRouter(logto.Config("https://app.example.com")), logtotest.DefaultUser())
//		…
//	}
func Faults() []Fault {
	return []Fault{
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

func idTokenFault(name, conformance string, change func(*Server, *JWT)) Fault {
	return Fault{Name: name, Stage: StageSignIn, Conformance: conformance, idToken: change}
}

func logoutTokenFault(name, conformance string, change func(*Server, *JWT)) Fault {
	return Fault{Name: name, Stage: StageBackchannelLogout, Conformance: conformance, logoutToken: change}
}

func answerFault(name, conformance string, change func(map[string]any)) Fault {
	return Fault{Name: name, Stage: StageSignIn, Conformance: conformance, tokenAnswer: change}
}

func userInfoFault(name, conformance string, change func(map[string]any)) Fault {
	return Fault{Name: name, Stage: StageUserInfo, Conformance: conformance, userInfo: change}
}

func callbackFault(name, conformance string, change func(url.Values)) Fault {
	return Fault{Name: name, Stage: StageSignIn, Conformance: conformance, callback: change}
}

func tokenFault(name string, handler http.HandlerFunc) Fault {
	return Fault{Name: name, Stage: StageSignIn, intercept: map[Endpoint]http.HandlerFunc{Token: handler}}
}

func unavailable(name string, stage Stage, endpoints ...Endpoint) Fault {
	fault := Fault{Name: name, Stage: stage, intercept: map[Endpoint]http.HandlerFunc{}}
	for _, endpoint := range endpoints {
		fault.intercept[endpoint] = func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		}
	}
	return fault
}

func harmless(fault Fault) Fault {
	fault.Harmless = true
	return fault
}

// appended is the suite's way to make a value wrong, so that comparisons of
// beginnings are caught.
func appended(claim string) func(*Server, *JWT) {
	return func(_ *Server, token *JWT) { token.Claims[claim] = text(token.Claims[claim]) + "1" }
}

func without(claim string) func(*Server, *JWT) {
	return func(_ *Server, token *JWT) { delete(token.Claims, claim) }
}

func secondAudience(_ *Server, token *JWT) {
	token.Claims["aud"] = []any{token.Claims["aud"], "another"}
}

func expired(s *Server, token *JWT) {
	token.Claims["exp"] = s.clock().Add(-6 * time.Minute).Unix()
}

func unsigned(_ *Server, token *JWT) { token.Header["alg"], token.Algorithm = "none", "none" }

// hmacSignature signs with the application's secret, which both sides know.
func hmacSignature(s *Server, token *JWT) {
	token.Header["alg"], token.Algorithm, token.Key = "HS256", "HS256", []byte(s.AppSecret())
}

func wrongSignature(_ *Server, token *JWT) {
	claims := maps.Clone(token.Claims)
	claims["jti"] = randomToken()
	signed, err := SignToken(token.Algorithm, token.Key, token.Header, claims)
	honest, err2 := SignToken(token.Algorithm, token.Key, token.Header, token.Claims)
	if err != nil || err2 != nil {
		return
	}
	token.Raw = honest[:strings.LastIndexByte(honest, '.')] + signed[strings.LastIndexByte(signed, '.'):]
}

func text(value any) string {
	text, _ := value.(string)
	return text
}
