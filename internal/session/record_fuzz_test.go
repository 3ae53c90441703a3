package session

import (
	"reflect"
	"testing"
	"time"
)

// C98.
func FuzzSessionRecord(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	full := &Session{
		ID: "i", Version: 3, Replacements: 2, Origin: hashOfOrigin("https://app.example.com"),
		StartedAt: at, ActiveAt: at, Expires: at.Add(time.Hour), BegunAt: at, ConfirmedAt: at, IDTokenExpires: at, AuthTime: at,
		Subject: "u", LogtoSessionID: "sid", Data: "data", DataCounter: 7, IDToken: "eyJ9.eyJ9.AA", RefreshToken: "r",
		AccessTokens: []AccessToken{{Resource: "r", Organization: "o", Token: "t", Scope: "a b", Expires: at, RenewAt: at}},
		Format:       Format,
	}
	f.Add(full.Encode())
	f.Add((&Session{}).Encode())
	f.Add([]byte{FirstFormat, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{FirstFormat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{2})
	f.Add([]byte{})
	if back, err := Decode(full.Encode(), ""); err != nil || !reflect.DeepEqual(back, full) {
		f.Fatalf("%+v comes back as %+v, %v", full, back, err)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		decoded, err := Decode(encoded, full.Origin)
		if err != nil {
			return
		}
		if (encoded[0] != Format && encoded[0] != FirstFormat) || (encoded[0] == FirstFormat && decoded.Origin != full.Origin) {
			t.Fatalf("%x is read", encoded)
		}
		again, err := Decode(decoded.Encode(), "")
		decoded.Format = Format // it is written anew
		if err != nil || !reflect.DeepEqual(again, decoded) {
			t.Fatalf("%x: %+v comes back as %+v, %v", encoded, decoded, again, err)
		}
		if _, err := Decode(append(decoded.Encode(), 0), ""); err == nil {
			t.Fatalf("%x: what follows a record is accepted", encoded)
		}
	})
}
