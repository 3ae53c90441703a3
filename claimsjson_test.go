package logtogin_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestUnmarshalledClaimsAreThoseOfTheToken(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]string{
		"every claim":       everyClaim,
		"nulls":             `{"name": null, "address": null, "roles": null, "custom_data": null, "identities": null, "organization_data": null, "not_documented": null}`,
		"empty values":      `{"name": "", "roles": [], "custom_data": {}, "identities": {}, "organization_data": [], "address": {}}`,
		"wrong types":       `{"name": 1, "roles": "admin", "email_verified": "true", "created_at": "now", "address": [1], "custom_data": [], "sid": 7, "identities": []}`,
		"nulls in lists":    `{"roles": ["a", null], "organization_data": [{"id": "o"}, null], "sso_identities": [null], "identities": {"a": null, "b": {}}}`,
		"names like others": `{"Sub": "x", "SUB": "y", "ſub": "z", "Email_Verified": true, "Iss": "evil", "Aud": "evil", "": "no name"}`,
		"numbers":           `{"big": 9007199254740993, "huge": 1E+300, "created_at": 1e300, "updated_at": 9223372036854775808, "custom_data": {"id": 123456789012345678901234567890}}`,
		"nesting":           `{"not_documented": [[[[{"a": [{"b": {"c": [null, true, {}]}}]}]]]], "address": {"formatted": ["x"], "country": {"a": 1}}}`,
		"odd text":          `{"name": "<script>&amp;\u2028\"\\\ud83d\ude00é", "nickname": "\u0000\t", "roles": ["\u00e4", "ä"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := signInWith(t, claims)
			var fromToken, fromClaims logtogin.Claims
			var infoFromAnswer, infoFromInfo logtogin.UserInfo
			for _, read := range []struct {
				source string
				into   any
			}{
				{seen.idTokenSent, &fromToken}, {marshalled(t, seen.claims), &fromClaims}, {seen.infoSent, &infoFromAnswer}, {marshalled(t, seen.info), &infoFromInfo},
			} {
				if err := json.Unmarshal([]byte(read.source), read.into); err != nil {
					t.Fatalf("%s: %v", read.source, err)
				}
			}
			for what, pair := range map[string][2]any{
				"the token": {*seen.claims, fromToken}, "the claims": {*seen.claims, fromClaims},
				"the answer": {*seen.info, infoFromAnswer}, "the user info": {*seen.info, infoFromInfo},
			} {
				if difference := differ(pair[0], pair[1]); difference != "" {
					t.Errorf("from JSON of %s: %s", what, difference)
				}
				if a, b := marshalled(t, pair[0]), marshalled(t, pair[1]); a != b {
					t.Errorf("from JSON of %s, it is marshalled as %s, want %s", what, b, a)
				}
			}
			for claim := range decode(t, seen.idTokenSent) {
				var want, got json.RawMessage
				err1, err2 := seen.claims.Get(claim, &want), fromToken.Get(claim, &got)
				if err1 != nil || err2 != nil || !fromToken.Has(claim) || string(want) != string(got) {
					t.Errorf("Get(%q) is %s, %v; want %s, %v", claim, got, err2, want, err1)
				}
			}
			if err := fromToken.Get("absent", new(any)); fromToken.Has("absent") || !errors.Is(err, logtogin.ErrNoSuchClaim) {
				t.Errorf("an absent claim: %v", err)
			}
		})
	}
}

func marshalled(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%T: %v", value, err)
	}
	return string(raw)
}

// claimTypes are empty values of all types that are claims.
func claimTypes() []any {
	return []any{new(logtogin.Claims), new(logtogin.UserInfo), new(logtogin.UserClaims), new(logtogin.AccessTokenClaims), new(logtogin.WebhookEvent)}
}

func TestJSONThatIsNoObjectIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	inner := []any{new(logtogin.Address), new(logtogin.Identity), new(logtogin.SSOIdentity), new(logtogin.OrganizationData)}
	for _, value := range append(claimTypes(), inner...) {
		const before = `{"sub": "u", "name": "before", "event": "E", "country": "DE", "userId": "u", "issuer": "i", "id": "o"}`
		if err := json.Unmarshal([]byte(before), value); err != nil {
			t.Fatalf("%T: %v", value, err)
		}
		want := marshalled(t, value)
		for _, source := range []string{`[]`, `[{"sub":"v"}]`, `"sub"`, `7`, `true`, `{"a":1,"a":2}`, `{"sub":"v","\u0073ub":"w"}`, ``, `{`, `{}{}`} {
			err := value.(json.Unmarshaler).UnmarshalJSON([]byte(source))
			if err == nil || !strings.HasPrefix(err.Error(), "logtogin: ") {
				t.Errorf("%T takes %s: %v", value, source, err)
			}
			if json.Unmarshal([]byte(source), value) == nil {
				t.Errorf("json.Unmarshal takes %s for %T", source, value)
			}
			if got := marshalled(t, value); got != want {
				t.Errorf("%T: %s has changed it to %s", value, source, got)
			}
		}
		for _, null := range []string{`null`, " null\n"} {
			if err := value.(json.Unmarshaler).UnmarshalJSON([]byte(null)); err != nil || marshalled(t, value) != want {
				t.Errorf("%T: %q makes of it %s, %v", value, null, marshalled(t, value), err)
			}
		}
	}
}

func TestUnmarshallingReplacesWhatWasThere(t *testing.T) {
	t.Parallel()
	claims := filledClaims()
	if err := json.Unmarshal([]byte(`{"sub": "v"}`), &claims); err != nil {
		t.Fatal(err)
	}
	if difference := differ(logtogin.Claims{UserClaims: logtogin.UserClaims{Subject: "v"}}, claims); difference != "" {
		t.Error(difference)
	}
	address := *filledUserClaims().Address
	if err := json.Unmarshal([]byte(`{"country": "DE"}`), &address); err != nil || address != (logtogin.Address{Country: "DE"}) {
		t.Errorf("%+v, %v", address, err)
	}
}

func TestUnmarshalledClaimsKeepNothingOfTheBuffer(t *testing.T) {
	t.Parallel()
	for _, value := range claimTypes() {
		source := []byte(`{"sub":"u","name":"n","aud":["a"],"custom_data":{"a":"b"},"event":"E","scope":"s"}`)
		want := string(source)
		if err := value.(json.Unmarshaler).UnmarshalJSON(source); err != nil {
			t.Fatal(err)
		}
		copy(source, bytes.Repeat([]byte("#"), len(source)))
		if got := marshalled(t, value); got != want {
			t.Errorf("%T is %s, want %s", value, got, want)
		}
		var raw json.RawMessage
		switch claims := value.(type) {
		case *logtogin.Claims:
			raw = claims.CustomData
		case *logtogin.UserInfo:
			raw = claims.CustomData
		case *logtogin.UserClaims:
			raw = claims.CustomData
		default:
			continue
		}
		if string(raw) != `{"a":"b"}` {
			t.Errorf("%T: the custom data are %s", value, raw)
		}
		copy(raw, "########")
		if got := marshalled(t, value); got != want {
			t.Errorf("%T: changed custom data make of it %s", value, got)
		}
	}
}

func TestClaimsMadeByHandAreWrittenWithLogtosNames(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 987654321)
	for _, row := range []struct {
		value any
		want  string
	}{
		{&logtogin.Claims{UserClaims: logtogin.UserClaims{Subject: "x"}}, `{"sub":"x"}`},
		{logtogin.UserInfo{UserClaims: logtogin.UserClaims{Subject: "x", GivenName: "A"}}, `{"given_name":"A","sub":"x"}`},
		{logtogin.Claims{Audience: []string{"a"}, IssuedAt: at, UserClaims: logtogin.UserClaims{CreatedAt: at}}, `{"aud":"a","created_at":1800000000987,"iat":1800000000}`},
		{logtogin.Claims{Audience: []string{"a", "b"}, SessionID: "s"}, `{"aud":["a","b"],"sid":"s"}`},
		{logtogin.Claims{UserClaims: logtogin.UserClaims{Roles: []string{}}}, `{"roles":[]}`},
		{logtogin.AccessTokenClaims{Scopes: []string{"a", "b"}, ClientID: "c"}, `{"client_id":"c","scope":"a b"}`},
		{logtogin.OrganizationData{ID: "o", Name: "n"}, `{"id":"o","name":"n"}`},
		{logtogin.Address{StreetAddress: "s"}, `{"streetAddress":"s"}`},
		{logtogin.Identity{UserID: "u", Details: json.RawMessage(`[1]`)}, `{"userId":"u","details":[1]}`},
		{logtogin.SSOIdentity{IdentityID: "u"}, `{"identityId":"u"}`},
		{logtogin.WebhookEvent{Event: "User.Deleted", UserIDs: []string{"u"}}, `{"data":{"id":"u"},"event":"User.Deleted"}`},
		{logtogin.UserClaims{CustomData: json.RawMessage{}}, `null`}, {logtogin.AccessTokenClaims{}, `null`}, {logtogin.WebhookEvent{}, `null`},
	} {
		if got := marshalled(t, row.value); got != row.want {
			t.Errorf("%T is %s, want %s", row.value, got, row.want)
		}
	}
	for _, lost := range []any{
		logtogin.Claims{Expiry: time.Unix(0, 0)}, logtogin.AccessTokenClaims{IssuedAt: time.Unix(-1, 0)}, logtogin.UserInfo{UserClaims: logtogin.UserClaims{CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		logtogin.UserClaims{CustomData: json.RawMessage(`{`)},
	} {
		if raw, err := json.Marshal(lost); err == nil {
			t.Errorf("%T is %s, and would not come back", lost, raw)
		}
	}
}

// What Logto sent stays what Logto sent.
func TestChangesOfTheFieldsAreNotMarshalled(t *testing.T) {
	t.Parallel()
	for _, value := range claimTypes() {
		const source = `{"sub":"u","event":"E","null":null}`
		if err := json.Unmarshal([]byte(source), value); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"Subject", "Event"} {
			if found := reflect.ValueOf(value).Elem().FieldByName(field); found.IsValid() {
				found.SetString("changed")
			}
		}
		if got := marshalled(t, value); got != source {
			t.Errorf("%T is %s, want %s", value, got, source)
		}
	}
}

func TestTypesThatContainOrEmbedClaimsComeBack(t *testing.T) {
	t.Parallel()
	type embedding struct{ logtogin.Claims }
	type account struct {
		Claims *logtogin.Claims   `json:"claims"`
		Info   logtogin.UserInfo  `json:"info"`
		Absent *logtogin.Claims   `json:"absent"`
		Others []*logtogin.Claims `json:"others"`
		Any    any                `json:"any"`
	}
	filled := filledClaims()
	var embedded embedding
	if err := json.Unmarshal([]byte(marshalled(t, embedding{filled})), &embedded); err != nil {
		t.Fatal(err)
	}
	if difference := differ(filled, embedded.Claims); difference != "" {
		t.Error(difference)
	}
	kept := account{Claims: &filled, Info: logtogin.UserInfo{UserClaims: filledUserClaims()}, Others: []*logtogin.Claims{&filled, nil}}
	var back account
	if err := json.Unmarshal([]byte(marshalled(t, kept)), &back); err != nil {
		t.Fatal(err)
	}
	if difference := differ(kept, back); difference != "" {
		t.Error(difference)
	}
	// An interface that holds a pointer is filled in; a nil one gets a map, as of any type.
	back.Any = new(logtogin.Claims)
	if err := json.Unmarshal([]byte(`{"any": {"sub": "x"}}`), &back); err != nil || back.Any.(*logtogin.Claims).Subject != "x" {
		t.Errorf("%+v, %v", back.Any, err)
	}
}

// Sessions of gin-contrib keep values by gob, which by itself knows the fields only.
func TestClaimsComeBackFromGob(t *testing.T) {
	t.Parallel()
	var stream bytes.Buffer
	filled := filledClaims()
	filled.OrganizationData = filled.OrganizationData[:2]
	if err := gob.NewEncoder(&stream).Encode(filled); err != nil {
		t.Fatal(err)
	}
	var back logtogin.Claims
	if err := gob.NewDecoder(&stream).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if difference := differ(filled, back); difference != "" {
		t.Error(difference)
	}
	if got, want := marshalled(t, back), marshalled(t, filled); got != want {
		t.Errorf("it is marshalled as %s, want %s", got, want)
	}
	const source = `{"sub":"x","name":null,"custom":[1]}`
	for _, values := range [][2]any{
		{new(logtogin.Claims), new(logtogin.Claims)}, {new(logtogin.UserInfo), new(logtogin.UserInfo)},
		{new(logtogin.UserClaims), new(logtogin.UserClaims)}, {new(logtogin.AccessTokenClaims), new(logtogin.AccessTokenClaims)},
	} {
		if err := json.Unmarshal([]byte(source), values[0]); err != nil {
			t.Fatal(err)
		}
		var stream bytes.Buffer
		if err := errors.Join(gob.NewEncoder(&stream).Encode(values[0]), gob.NewDecoder(&stream).Decode(values[1])); err != nil {
			t.Fatal(err)
		}
		if got := marshalled(t, values[1]); got != source {
			t.Errorf("%T: %s", values[1], got)
		}
	}
}

func TestAWebhookEventOfLogtoComesBack(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var events []*logtogin.WebhookEvent
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
			events = append(events, event)
			return nil
		}
	})
	app.router.POST("/webhooks", app.auth.WebhookHandler("key"))
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhooks", SigningKey: "key"})
	logto.SuspendUser(logtotest.DefaultUser().Username, true)
	if len(events) == 0 {
		t.Fatal("no webhook came")
	}
	for _, event := range events {
		var back logtogin.WebhookEvent
		if err := json.Unmarshal([]byte(marshalled(t, event)), &back); err != nil {
			t.Fatal(err)
		}
		if difference := differ(*event, back); difference != "" || !back.Has("data") || len(back.UserIDs) != 1 || !back.IsSuspended {
			t.Errorf("%s: %s", marshalled(t, event), difference)
		}
	}
}

// samples are all objects in what was recorded of a real Logto, whatever they are about.
func samples(t *testing.T) (objects []string) {
	t.Helper()
	raw, err := os.ReadFile("logtotest/testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var collect func(value any)
	collect = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			objects = append(objects, marshalled(t, value))
			for _, member := range value {
				collect(member)
			}
		case []any:
			for _, element := range value {
				collect(element)
			}
		}
	}
	collect(numbers(t, string(raw)))
	return objects
}

func TestWhateverIsReadComesBackTheSame(t *testing.T) {
	t.Parallel()
	objects := samples(t)
	if len(objects) < 100 {
		t.Fatalf("only %d samples", len(objects))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		objects = append(objects, randomObject(random, 3))
	}
	for _, source := range objects {
		for i, first := range claimTypes() {
			second := claimTypes()[i]
			if err := json.Unmarshal([]byte(source), first); err != nil {
				t.Fatalf("%T: %s: %v", first, source, err)
			}
			out := marshalled(t, first)
			if !reflect.DeepEqual(numbers(t, out), numbers(t, source)) {
				t.Fatalf("%T: %s is marshalled as %s", first, source, out)
			}
			if err := json.Unmarshal([]byte(out), second); err != nil {
				t.Fatalf("%T: %s: %v", first, out, err)
			}
			if difference := differ(first, second); difference != "" {
				t.Fatalf("%T: %s comes back different: %s", first, source, difference)
			}
			// The fields alone, as an application fills them in, say the same.
			again := claimTypes()[i]
			written := marshalled(t, byHand(first))
			if written == "null" {
				written = "{}" // no field has a value
			}
			if err := json.Unmarshal([]byte(written), again); err != nil {
				t.Fatalf("%T: %s: %v", first, source, err)
			}
			if difference := differ(first, again); difference != "" {
				t.Fatalf("%T: the fields of %s come back different from %s: %s", first, source, written, difference)
			}
		}
	}
}

// byHand is a value with the exported fields of another, and nothing else.
func byHand(value any) any {
	switch value := value.(type) {
	case *logtogin.Claims:
		copied := *value
		copied.UserClaims = userByHand(copied.UserClaims)
		return &copied
	case *logtogin.UserInfo:
		return &logtogin.UserInfo{UserClaims: userByHand(value.UserClaims)}
	case *logtogin.UserClaims:
		copied := userByHand(*value)
		return &copied
	case *logtogin.AccessTokenClaims:
		return &logtogin.AccessTokenClaims{
			Subject: value.Subject, ClientID: value.ClientID, Issuer: value.Issuer, Audience: value.Audience, Scopes: value.Scopes,
			OrganizationID: value.OrganizationID, IssuedAt: value.IssuedAt, Expiry: value.Expiry, ID: value.ID,
		}
	case *logtogin.WebhookEvent:
		return &logtogin.WebhookEvent{
			Event: value.Event, HookID: value.HookID, CreatedAt: value.CreatedAt, UserIDs: value.UserIDs, OrganizationID: value.OrganizationID, IsSuspended: value.IsSuspended,
		}
	}
	return nil
}

func userByHand(from logtogin.UserClaims) (user logtogin.UserClaims) {
	for field, value := range reflect.ValueOf(from).Fields() {
		if field.IsExported() {
			reflect.ValueOf(&user).Elem().FieldByIndex(field.Index).Set(value)
		}
	}
	return user
}

// randomObject is an object with names of claims, and names like them, and values of any type.
// Its numbers are whole: of a value made by hand, times are cut.
func randomObject(random *rand.Rand, depth int) string {
	names := []string{
		"sub", "Sub", "SUB", "ſub", "name", "email_verified", "created_at", "updated_at", "address", "custom_data", "identities", "sso_identities", "roles",
		"organizations", "organization_data", "organization_roles", "iss", "aud", "iat", "exp", "auth_time", "sid", "scope", "client_id", "jti", "organization_id",
		"streetAddress", "country", "userId", "details", "issuer", "identityId", "detail", "id", "description",
		"event", "hookId", "createdAt", "organizationId", "data", "params", "isSuspended", "addedUserIds", "removedUserIds", "", "ä\"\\", "not_documented",
	}
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	var members []string
	for _, name := range names[:random.IntN(12)] {
		quoted, _ := json.Marshal(name)
		members = append(members, fmt.Sprintf(" %s :%s", quoted, randomValue(random, depth)))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func randomValue(random *rand.Rand, depth int) string {
	scalars := []string{
		`null`, `true`, `false`, `""`, `"a"`, `"a b"`, `"<\u00e4\ud83d\ude00\u2028>"`, `"User.Deleted"`, `"2026-11-28T10:00:00.5Z"`,
		`0`, `-1`, `1800000000`, `1800000000123`, `9007199254740993`, `123456789012345678901234567890`, `1E+300`, `1e400`,
	}
	switch kind := random.IntN(4); {
	case kind == 0 && depth > 0:
		return randomObject(random, depth-1)
	case kind == 1 && depth > 0:
		var elements []string
		for range random.IntN(4) {
			elements = append(elements, randomValue(random, depth-1))
		}
		return "[" + strings.Join(elements, " , ") + "]"
	default:
		return scalars[random.IntN(len(scalars))]
	}
}

func TestANullInThePlaceOfAnObjectMakesAClaimOfAnotherType(t *testing.T) {
	t.Parallel()
	for source, isRead := range map[string]bool{
		`{"organization_data":[{"id":"o"},null],"sso_identities":[null],"identities":{"a":null,"b":{"userId":"u"}}}`: false,
		`{"organization_data":[{"id":"o"},{}],"sso_identities":[{}],"identities":{"a":{},"b":{"userId":"u"}}}`:       true,
		`{"organization_data":[{"id":null}],"sso_identities":[{"detail":null}],"identities":{"a":{"details":null}}}`: true,
	} {
		var user logtogin.UserClaims
		if err := json.Unmarshal([]byte(source), &user); err != nil {
			t.Fatal(err)
		}
		if (user.OrganizationData != nil) != isRead || (user.SSOIdentities != nil) != isRead || (user.Identities != nil) != isRead {
			t.Errorf("%s is read as %+v, %+v, %+v", source, user.OrganizationData, user.SSOIdentities, user.Identities)
		}
	}
}

// What is read may come from a stranger, so the work grows with its length only.
func TestReadingManyEmptyIdentitiesIsNotQuadratic(t *testing.T) {
	reading := func(count int) float64 {
		var identities []string
		for i := range count {
			identities = append(identities, fmt.Sprintf(`"%d":{}`, i))
		}
		body := []byte(`{"sub":"x","identities":{` + strings.Join(identities, ",") + `}}`)
		return testing.AllocsPerRun(1, func() {
			if err := json.Unmarshal(body, new(logtogin.Claims)); err != nil {
				t.Error(err)
			}
		})
	}
	if few, many := reading(200), reading(2000); many > 20*few {
		t.Errorf("ten times as many identities take %.0f allocations, and few take %.0f", many, few)
	}
}
