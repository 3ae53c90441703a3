package session

import (
	"slices"
	"testing"
	"time"
)

// C98.
func FuzzRevocations(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	f.Add(encodeRevocations(
		Revocation{Kind: LoggedOutLogtoSession, Name: "sid", Subject: "u", At: at, expires: at.Add(time.Hour), TokenID: "jti"},
		Revocation{Kind: RevokeUser, Name: "u", At: at},
		Revocation{Kind: revokeOthers, Name: "u", At: at, except: "id", started: at},
	))
	f.Add([]byte{revocationFormat, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		if made, err := decodeRevocations(encoded); err == nil {
			again, err := decodeRevocations(encodeRevocations(made...))
			if err != nil || !slices.Equal(again, made) || encoded[0] != revocationFormat {
				t.Fatalf("%x: %+v comes back as %+v, %v", encoded, made, again, err)
			}
		}
	})
}
