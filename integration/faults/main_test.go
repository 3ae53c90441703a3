// Package faults_test puts a steady load on two instances of an application while Logto,
// Redis, the clocks or the instances themselves fail, and counts what users see of it.
package faults_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/documents"
	"github.com/logtogin/logtogin/integration/instances"
)

// Without -write everything is done in a short form.
var (
	write    = flag.String("write", "", "the folder of the documents whose tables are to be written anew, from the long form")
	only     = flag.String("fault", "", "only the faults with this in their names")
	loadFor  = flag.Duration("load", 5*time.Minute, "how long the load of the long form lasts, for each place of the sessions")
	loadOf   = flag.Int("users", 10_000, "how many users are signed in under the load of the long form")
	visitors = flag.Int("visitors", 1_000_000, "how many sign-ins are begun by nobody in the long form")
)

func TestMain(m *testing.M) {
	instances.RunIfAsked()
	flag.Parse()
	// Users take their time, so that more of them fit than there are processors.
	if err := flag.Set("test.parallel", strconv.Itoa(len(combinations))); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// pick chooses by the form of the test.
func pick[T any](short, long T) T {
	if *write == "" {
		return short
	}
	return long
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// poll asks until the answer is yes, for so long at most.
func poll(ctx context.Context, limit time.Duration, isDone func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !isDone() {
		if ctx.Err() != nil {
			return false
		}
		pass(ctx, 20*time.Millisecond)
	}
	return true
}

// writeTables puts the tables into their place in a document.
func writeTables(t *testing.T, document, tables string) {
	t.Helper()
	if *write == "" || *only != "" || t.Failed() {
		t.Log("\n" + tables)
		return
	}
	documents.Write(t, filepath.Join(*write, document), "soak", tables)
}
