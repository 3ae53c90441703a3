package logtogin_test

import (
	"net/http"
	"testing"
	"time"
)

// nginx answers 400 if the line of the header Cookie is longer than 8 KiB. Production names the setting.
func TestAHundredTabsSignNobodyOut(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		situation
		arrive int // at least
	}{
		{situation{tabs: 100, isLogtoAlive: true, ourSession: "none", instances: 1}, 100},
		{situation{tabs: 100, isLogtoAlive: true, ourSession: "expired", instances: 1, isHTTP2: true}, 100},
		{situation{tabs: 100, isLogtoAlive: true, ourSession: "expired", instances: 1, isLarge: true, inStore: true}, 100},
		{situation{tabs: 100, isLogtoAlive: true, ourSession: "expired", instances: 1, isLarge: true}, 0},
	} {
		b := newTabbedBrowser(t, test.situation, 1)
		b.limit, b.patience = 8_180, 30*time.Second
		arrived := 0
		for _, own := range b.open(pagesOf(100)...) {
			if own.hasArrived() {
				arrived++
			}
		}
		t.Logf("%s: %d of 100 arrive, our cookies take up to %d bytes", test.situation, arrived, b.largest)
		if arrived < test.arrive {
			t.Errorf("%s: %d of 100 arrive, want %d", test.situation, arrived, test.arrive)
		}
		// What was announced is gone after a minute. When one page was reloaded, all the others are there.
		b.clock.advance(time.Minute)
		b.reopen(func(cookie *http.Cookie) bool { return cookie.Value != "0" })
		if reloaded := b.open("/pages/first"); !reloaded[0].hasArrived() {
			t.Errorf("%s: reloaded, a tab shows %q", test.situation, reloaded[0].shows)
		}
		for _, own := range b.open(pagesOf(100)...) {
			if !own.hasArrived() || len(own.visits) > 1 {
				t.Errorf("%s: reloaded, a tab shows %q after %q", test.situation, own.shows, own.visits)
			}
		}
	}
}
