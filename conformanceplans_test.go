package logtogin_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// conformancePlans are the plans that apply. The first five are complete; of the others,
// these are the tests that the code flow of this client can be put to.
var conformancePlans = []conformancePlan{
	{"oidcc-client-basic-certification-test-plan", "Basic RP: code flow, default response mode, client_secret_basic.", []string{
		"oidcc-client-test", "oidcc-client-test-invalid-iss", "oidcc-client-test-missing-sub", "oidcc-client-test-invalid-aud",
		"oidcc-client-test-missing-iat", "oidcc-client-test-kid-absent-single-jwks", "oidcc-client-test-kid-absent-multiple-jwks",
		"oidcc-client-test-idtoken-sig-rs256", "oidcc-client-test-idtoken-sig-none", "oidcc-client-test-invalid-sig-rs256",
		"oidcc-client-test-userinfo-invalid-sub", "oidcc-client-test-nonce-invalid", "oidcc-client-test-scope-userinfo-claims",
		"oidcc-client-test-client-secret-basic",
	}},
	{"oidcc-client-config-certification-test-plan", "Config RP: discovery and keys.", []string{
		"oidcc-client-test-discovery-openid-config", "oidcc-client-test-discovery-jwks-uri-keys", "oidcc-client-test-discovery-issuer-mismatch",
		"oidcc-client-test-idtoken-sig-none", "oidcc-client-test-signing-key-rotation-just-before-signing", "oidcc-client-test-signing-key-rotation",
	}},
	{"oidcc-client-rp-initiated-logout-rp-basic", "RP-Initiated Logout RP, with `SignOutOptions{PostLogoutRedirect, State, IDTokenHint: true}`. " +
		"The suite wants `id_token_hint` and skips the second and third test without `state`; the route `/sign-out` sends neither.", []string{
		"oidcc-client-test-rp-init-logout", "oidcc-client-test-rp-init-logout-other-state", "oidcc-client-test-rp-init-logout-no-state",
	}},
	{"oidcc-client-back-channel-logout-rp-basic", "Back-Channel Logout RP. Every request also has a parameter and the token a claim that must be ignored.", []string{
		"oidcc-client-test-rp-backchannel-rpinitlogout", "oidcc-client-test-rp-backchannel-rpinitlogout-alg-none",
		"oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg", "oidcc-client-test-rp-backchannel-rpinitlogout-no-event",
		"oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event", "oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce",
		"oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud", "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss",
	}},
	{"oidcc-client-refreshtoken-test-plan", "Refresh tokens; there is no certification. The last two are in no plan.", []string{
		"oidcc-client-test-refresh-token", "oidcc-client-test-refresh-token-invalid-issuer", "oidcc-client-test-refresh-token-invalid-sub",
		"oidcc-client-test-refresh-token-invalid-aud", "oidcc-client-test-refresh-token-invalid-azp",
	}},
	{"oidcc-client-test-plan", "The comprehensive plan; there is no certification. Its tests that are above as well are left out; the last one here is in no plan.", []string{
		"oidcc-client-test-missing-aud", "oidcc-client-test-invalid-sig-hs256", "oidcc-client-test-invalid-sig-es256",
		"oidcc-client-test-invalid-athash", "oidcc-client-test-userinfo-bearer-header", "oidcc-client-test-ignores-unparseable-key-in-jwks",
	}},
	{"fapi2-security-profile-final-client-test-plan", "FAPI 2.0, which this client is not built for: the tests without DPoP, PAR and mutual TLS, run in the plain code flow.", []string{
		fapi2 + "discovery-issuer-mismatch",
		fapi2 + "invalid-iss", fapi2 + "invalid-aud", fapi2 + "invalid-secondary-aud", fapi2 + "invalid-null-alg", fapi2 + "invalid-alternate-alg",
		fapi2 + "invalid-expired-exp", fapi2 + "invalid-missing-exp", fapi2 + "invalid-missing-aud", fapi2 + "invalid-missing-iss",
		fapi2 + "valid-aud-as-array", fapi2 + "invalid-nonce", fapi2 + "invalid-missing-nonce",
		fapi2 + "invalid-authorization-response-iss", fapi2 + "remove-authorization-response-iss",
		fapi2 + "ensure-authorization-response-with-invalid-state-fails", fapi2 + "ensure-authorization-response-with-invalid-missing-state-fails",
		fapi2 + "token-endpoint-response-without-expires_in", fapi2 + "token-type-case-insensitivity",
	}},
	{"fapi1-advanced-final-client-test-plan", "FAPI 1.0, likewise: what FAPI 2.0 does not have.", []string{
		fapi1 + "iat-is-week-in-past", fapi1 + "no-scope-in-token-endpoint-response", fapi1 + "encrypted-idtoken",
	}},
}

const (
	fapi2 = "fapi2-security-profile-final-client-test-"
	fapi1 = "fapi1-advanced-final-client-test-"
)

var conformanceNotApplicable = []notApplicable{
	{"plan oidcc-client-formpost-basic-certification-test-plan (the tests of the basic plan once more), oidcc-client-test-form-post-error",
		"`response_mode=form_post` is never asked for, and a POST to the callback is not served: the cookies are SameSite=Lax."},
	{"the plans for hybrid and implicit flows, of sign-in and of logout; …-invalid-chash, …-missing-chash, …-missing-athash, …-nonce-unless-code-flow",
		"Only `response_type=code` is asked for. There `at_hash` may be missing; one that is wrong is refused (…-invalid-athash)."},
	{"oidcc-client-test-rp-frontchannel-rpinitlogout, …-frontchannel-opinitlogout, oidcc-client-test-session-management",
		"Logto has neither front-channel logout nor session management."},
	{"oidcc-client-test-3rd-party-init-login", "There is no `initiate_login_uri`: Logto starts no sign-in that way."},
	{"oidcc-client-test-discovery-webfinger-acct, …-webfinger-url, oidcc-client-test-dynamic-registration",
		"The endpoint and the application are configured."},
	{"oidcc-client-test-request-uri-signed-rs256, …-signed-none, oidcc-client-test-userinfo-signed, oidcc-client-test-mtls-endpoint-aliases",
		"Logto has no request objects by reference, no signed user info and no mutual TLS."},
	{"oidcc-client-test-userinfo-bearer-body", "The access token goes in the header Authorization, which is the suite's alternative."},
	{"oidcc-client-test-aggregated-claims, oidcc-client-test-distributed-claims", "Logto has only normal claims. Others are kept as they are and not looked up."},
	{fapi2 + "happy-path, …-happy-path-no-dpop-nonce, …-rs-dpop-auth-scheme-case-insensitivity, …-ensure-jarm-… (8 tests), …-grant-management-… (3 tests)",
		"Logto has no DPoP, no mutual TLS, no JARM and no grant management."},
}

// conformanceTests are all of them by name.
func conformanceTests() map[string]conformanceTest {
	tests := map[string]conformanceTest{}
	for _, group := range []map[string]conformanceTest{idTokenTests(), codeFlowTests(), discoveryTests(), fapiTests(), logoutTests(), refreshTests()} {
		maps.Copy(tests, group)
	}
	return tests
}

var (
	signsIn = criterion{"signs in and fetches user info", func(o observed) bool {
		return o.status == http.StatusOK && o.signedIn && o.calls.Token == 1 && o.calls.UserInfo == 1
	}}
	neverCallsUserInfo = criterion{"never calls user info", func(o observed) bool {
		return o.status == http.StatusBadRequest && !o.signedIn && o.calls.Token == 1 && o.calls.UserInfo == 0
	}}
	neverCallsToken = criterion{"calls no further endpoint", func(o observed) bool {
		return o.status == http.StatusBadRequest && !o.signedIn && o.calls.Authorization == 1 && o.calls.Token == 0 && o.calls.UserInfo == 0
	}}
	neverCallsAuthorization = criterion{"never calls the authorization endpoint", func(o observed) bool {
		return o.status == http.StatusServiceUnavailable && !o.signedIn && o.calls == logtotest.Calls{Discovery: 1}
	}}
	discardsUserInfo = criterion{"discards the answer", func(o observed) bool {
		return o.status == http.StatusBadGateway && o.calls.UserInfo == 1
	}}
)

// changingIDToken signs in at a provider whose ID tokens are changed.
func changingIDToken(change func(*logtotest.JWT)) func(*logtotest.Server) {
	return func(logto *logtotest.Server) { logto.ChangeIDToken(change) }
}

func appended(claim, suffix string) func(*logtotest.JWT) {
	return func(token *logtotest.JWT) { token.Claims[claim] = token.Claims[claim].(string) + suffix }
}

func withoutClaim(claim string) func(*logtotest.JWT) {
	return func(token *logtotest.JWT) { delete(token.Claims, claim) }
}

func withoutKeyIDs(logto *logtotest.Server) {
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Header, "kid") })
	logto.ChangeKeys(func(set map[string]any) any {
		for _, key := range set["keys"].([]any) {
			delete(key.(map[string]any), "kid")
		}
		return set
	})
}

// idTokenTests: what is wrong with an ID token from the token endpoint.
func idTokenTests() map[string]conformanceTest {
	const oidcc = "oidcc-client-test-"
	tests := map[string]conformanceTest{}
	for name, test := range map[string]struct {
		provider  string
		algorithm string // of its only key; default ES384
		change    func(*logtotest.JWT)
	}{
		oidcc + "invalid-iss":           {"appends 1 to `iss`", "", appended("iss", "1")},
		oidcc + "missing-sub":           {"leaves `sub` out", "", withoutClaim("sub")},
		oidcc + "invalid-aud":           {"appends 1 to `aud`", "", appended("aud", "1")},
		oidcc + "missing-iat":           {"leaves `iat` out", "", withoutClaim("iat")},
		oidcc + "missing-aud":           {"leaves `aud` out", "", withoutClaim("aud")},
		oidcc + "nonce-invalid":         {"appends 1 to `nonce`", "", appended("nonce", "1")},
		oidcc + "invalid-sig-rs256":     {"damages the RS256 signature", "RS256", damagedSignature},
		oidcc + "invalid-sig-es256":     {"damages the ES256 signature", "ES256", damagedSignature},
		fapi2 + "invalid-iss":           {"appends 1 to `iss`", "", appended("iss", "1")},
		fapi2 + "invalid-aud":           {"appends 1 to `aud`", "", appended("aud", "1")},
		fapi2 + "invalid-null-alg":      {"sends `alg` none without a signature", "", unsigned("none")},
		fapi2 + "invalid-missing-exp":   {"leaves `exp` out", "", withoutClaim("exp")},
		fapi2 + "invalid-missing-aud":   {"leaves `aud` out", "", withoutClaim("aud")},
		fapi2 + "invalid-missing-iss":   {"leaves `iss` out", "", withoutClaim("iss")},
		fapi2 + "invalid-nonce":         {"appends 1 to `nonce`", "", appended("nonce", "1")},
		fapi2 + "invalid-missing-nonce": {"leaves `nonce` out", "", withoutClaim("nonce")},
		fapi2 + "invalid-expired-exp": {"sets `exp` to six minutes ago", "", func(token *logtotest.JWT) {
			token.Claims["exp"] = time.Now().Add(-6 * time.Minute).Unix()
		}},
		fapi2 + "invalid-secondary-aud": {"adds a second, unknown audience and no `azp`", "", func(token *logtotest.JWT) {
			token.Claims["aud"] = []any{token.Claims["aud"], "another"}
		}},
		fapi1 + "iat-is-week-in-past": {"sets `iat` to a week ago", "", func(token *logtotest.JWT) {
			token.Claims["iat"] = time.Now().Add(-7 * 24 * time.Hour).Unix()
		}},
	} {
		tests[name] = conformanceTest{provider: test.provider, passes: neverCallsUserInfo, run: signingIn(func(logto *logtotest.Server) {
			onlyKey(logto, test.algorithm)
			logto.ChangeIDToken(test.change)
		})}
	}
	tests[oidcc+"idtoken-sig-none"] = conformanceTest{
		provider: "sends `alg` none without a signature", run: signingIn(changingIDToken(unsigned("none"))),
		passes: criterion{"never calls user info (the suite then says SKIPPED), or is registered for none and signs in", neverCallsUserInfo.holds},
	}
	tests[oidcc+"invalid-sig-hs256"] = conformanceTest{
		provider: "signs by HS256 with the client secret", passes: neverCallsUserInfo, run: signingIn(func(logto *logtotest.Server) {
			logto.Misbehave(faults.HMACSignature)
		}),
	}
	tests[oidcc+"invalid-athash"] = conformanceTest{
		provider: "sends an `at_hash` of another token", passes: neverCallsUserInfo, run: signingIn(changingIDToken(func(token *logtotest.JWT) {
			token.Claims["at_hash"] = base64.RawURLEncoding.EncodeToString(make([]byte, 24))
		})),
	}
	return tests
}

// codeFlowTests: what must be accepted, and what is wrong with user info.
func codeFlowTests() map[string]conformanceTest {
	honest := func(*logtotest.Server) {}
	return map[string]conformanceTest{
		"oidcc-client-test": {provider: "is honest", passes: signsIn, run: signingIn(honest)},
		"oidcc-client-test-kid-absent-single-jwks": {
			provider: "leaves `kid` out, of the token and of its only key", passes: signsIn, run: signingIn(withoutKeyIDs),
		},
		"oidcc-client-test-kid-absent-multiple-jwks": {
			provider: "leaves `kid` out, of the token and of two keys that fit",
			passes:   criterion{"tries the keys and signs in, or never calls user info", signsIn.holds},
			run: signingIn(func(logto *logtotest.Server) {
				rotate(logto, "ES384")
				withoutKeyIDs(logto)
			}),
		},
		"oidcc-client-test-idtoken-sig-rs256": {provider: "signs by RS256", passes: signsIn, run: signingIn(func(logto *logtotest.Server) { onlyKey(logto, "RS256") })},
		"oidcc-client-test-userinfo-invalid-sub": {provider: "appends invalid to `sub` of user info", passes: discardsUserInfo, run: signingIn(func(logto *logtotest.Server) {
			logto.Misbehave(faults.WrongUserInfoSubject)
		})},
		"oidcc-client-test-scope-userinfo-claims": {
			provider: "gives claims for the scopes profile, email, phone and address", passes: signsIn, run: usingClaimsOfScopes,
		},
		"oidcc-client-test-client-secret-basic": {
			provider: "takes the client secret only in the header, form-urlencoded", passes: signsIn, run: authenticatingInTheHeader,
		},
		"oidcc-client-test-userinfo-bearer-header": {
			provider: "takes the access token only in the header", passes: signsIn, run: signingIn(func(logto *logtotest.Server) {
				logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.Header.Get("Authorization") == "" {
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					next.ServeHTTP(w, r)
				})
			}),
		},
		"oidcc-client-test-ignores-unparseable-key-in-jwks": {
			provider: "lists a key of an unknown type and one of unknown parameters before its own", passes: signsIn, run: signingIn(func(logto *logtotest.Server) {
				logto.ChangeKeys(func(set map[string]any) any {
					set["keys"] = append([]any{
						map[string]any{"kty": "AKP", "alg": "ML-DSA-99", "kid": "post-quantum", "pub": "AAAA"},
						map[string]any{"kty": "UNKNOWN", "kid": "made up", "x": "AAAA"},
					}, set["keys"].([]any)...)
					return set
				})
			}),
		},
	}
}

// discoveryTests: the metadata and the keys.
func discoveryTests() map[string]conformanceTest {
	mismatch := conformanceTest{
		provider: "appends INVALID to `issuer` of the metadata", passes: neverCallsAuthorization, run: signingIn(func(logto *logtotest.Server) {
			logto.Misbehave(faults.WrongDiscoveryIssuer)
		}),
	}
	return map[string]conformanceTest{
		"oidcc-client-test-discovery-openid-config": {
			provider: "names endpoints whose addresses cannot be guessed", passes: signsIn, run: findingEndpoints,
		},
		"oidcc-client-test-discovery-jwks-uri-keys": {
			provider: "has its keys at an address that only the metadata name", passes: signsIn, run: findingKeys,
		},
		"oidcc-client-test-discovery-issuer-mismatch": mismatch,
		fapi2 + "discovery-issuer-mismatch":           mismatch,
		"oidcc-client-test-signing-key-rotation-just-before-signing": {
			provider: "replaces its key just before it signs, when the old one is known", passes: signsIn, run: rotatingBeforeSigning,
		},
		"oidcc-client-test-signing-key-rotation": {
			provider: "replaces its key between two sign-ins", passes: signsIn, run: rotatingBetweenSignIns,
		},
	}
}

// fapiTests: the authorization response, the token answer, and what differs.
func fapiTests() map[string]conformanceTest {
	callback := func(change func(url.Values)) func(*testing.T) observed {
		return signingIn(func(logto *logtotest.Server) {
			logto.ChangeCallback(func(parameters url.Values) url.Values { change(parameters); return parameters })
		})
	}
	answer := func(change func(map[string]any)) func(*testing.T) observed {
		return signingIn(func(logto *logtotest.Server) {
			logto.ChangeTokenAnswer(func(answer map[string]any) any { change(answer); return answer })
		})
	}
	return map[string]conformanceTest{
		fapi2 + "invalid-authorization-response-iss": {
			provider: "appends 1 to `iss` of the authorization response", passes: neverCallsToken, run: callback(func(p url.Values) { p.Set("iss", p.Get("iss")+"1") }),
		},
		fapi2 + "remove-authorization-response-iss": {
			provider: "leaves `iss` out of the authorization response, though the metadata promise it", passes: neverCallsToken, run: callback(func(p url.Values) { p.Del("iss") }),
		},
		fapi2 + "ensure-authorization-response-with-invalid-state-fails": {
			provider: "appends 1 to `state`", passes: neverCallsToken, run: callback(func(p url.Values) { p.Set("state", p.Get("state")+"1") }),
		},
		fapi2 + "ensure-authorization-response-with-invalid-missing-state-fails": {
			provider: "leaves `state` out", passes: neverCallsToken, run: callback(func(p url.Values) { p.Del("state") }),
		},
		fapi2 + "token-endpoint-response-without-expires_in": {
			provider: "leaves `expires_in` out", passes: signsIn, run: answer(func(a map[string]any) { delete(a, "expires_in") }),
		},
		fapi2 + "token-type-case-insensitivity": {
			provider: "sends `token_type` bEARER", passes: signsIn, run: answer(func(a map[string]any) { a["token_type"] = "bEARER" }),
		},
		fapi1 + "no-scope-in-token-endpoint-response": {
			provider: "leaves `scope` out", passes: signsIn, run: answer(func(a map[string]any) { delete(a, "scope") }),
		},
		fapi2 + "valid-aud-as-array": {
			provider: "sends `aud` as a list of one", passes: signsIn, run: signingIn(changingIDToken(func(token *logtotest.JWT) {
				token.Claims["aud"] = []any{token.Claims["aud"]}
			})),
		},
		fapi2 + "invalid-alternate-alg": {
			provider: "signs by RS256, with a key of its own, where FAPI wants PS256, ES256 or EdDSA", passes: neverCallsUserInfo,
			run:     signingIn(func(logto *logtotest.Server) { rotate(logto, "RS256") }),
			differs: "FAPI forbids RS256. Logto signs with it if the tenant's key is an RSA key, and the basic plan wants it accepted (oidcc-client-test-idtoken-sig-rs256).",
		},
		fapi1 + "encrypted-idtoken": {
			provider: "sends an ID token in the form of an encrypted one", passes: signsIn, run: signingIn(changingIDToken(func(token *logtotest.JWT) {
				part := base64.RawURLEncoding.EncodeToString
				token.Raw = part([]byte(`{"alg":"RSA-OAEP-256","enc":"A256GCM","kid":"client"}`)) + "." + part(make([]byte, 256)) + "." +
					part(make([]byte, 12)) + "." + part(make([]byte, 600)) + "." + part(make([]byte, 16))
			})),
			differs: "Logto encrypts no tokens, so there is nothing here that decrypts. Such a token is refused.",
		},
	}
}
