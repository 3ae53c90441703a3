package telemetry_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
	"github.com/logtogin/logtogin/telemetry"
)

// observed is an application whose telemetry is kept.
type observed struct {
	t      *testing.T
	logto  *logtotest.Server
	router *gin.Engine
	auth   *logtogin.Auth
	spans  *tracetest.InMemoryExporter
	reader *metric.ManualReader
	tracer *trace.TracerProvider
}

func newObserved(t *testing.T) *observed {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	o := &observed{t: t, logto: logtotest.NewServer(t), spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	o.tracer = trace.NewTracerProvider(trace.WithSyncer(o.spans))
	onEvent, err := telemetry.New(o.tracer, metric.NewMeterProvider(metric.WithReader(o.reader)))
	if err != nil {
		t.Fatal(err)
	}
	cfg := o.logto.Config("https://app.example.com")
	cfg.OnEvent = onEvent
	o.router = gin.New()
	if o.auth, err = logtogin.Register(o.router, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.auth.Close() })
	o.router.GET("/profile", o.auth.Guard(), func(*gin.Context) {})
	return o
}

// measurements are the instruments with their attributes, and how often each was used.
func (o *observed) measurements() map[string]int64 {
	o.t.Helper()
	var collected metricdata.ResourceMetrics
	if err := o.reader.Collect(context.Background(), &collected); err != nil {
		o.t.Fatal(err)
	}
	found := map[string]int64{}
	for _, scope := range collected.ScopeMetrics {
		for _, instrument := range scope.Metrics {
			switch data := instrument.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range data.DataPoints {
					found[instrument.Name+" "+point.Attributes.Encoded(attribute.DefaultEncoder())] += point.Value
				}
			case metricdata.Histogram[float64]:
				for _, point := range data.DataPoints {
					found[instrument.Name+" "+point.Attributes.Encoded(attribute.DefaultEncoder())] += int64(point.Count)
				}
			}
		}
	}
	return found
}

func TestASignInAndItsPages(t *testing.T) {
	t.Parallel()
	o := newObserved(t)
	client := o.logto.SignIn(t, o.router, logtotest.DefaultUser())
	signedIn := o.measurements()
	want := map[string]int64{
		"logtogin.sign_ins outcome=started": 1, "logtogin.sign_ins outcome=finished": 1,
		"logtogin.provider.calls call=discovery": 1, "logtogin.provider.calls call=keys": 1, "logtogin.provider.calls call=token": 1,
	}
	if !maps.Equal(signedIn, want) {
		t.Errorf("%v", signedIn)
	}
	names := []string{}
	for _, span := range o.spans.GetSpans() {
		names = append(names, span.Name)
		if span.EndTime.Before(span.StartTime) || span.Status.Code == codes.Error {
			t.Errorf("%+v", span)
		}
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"logto discovery", "logto keys", "logto token"}) {
		t.Errorf("%q", names)
	}
	// An ordinary guarded page is none of an operator's business.
	for range 5 {
		if _, err := client.Get("/profile"); err != nil {
			t.Fatal(err)
		}
	}
	if after := o.measurements(); !maps.Equal(after, signedIn) || len(o.spans.GetSpans()) != 3 {
		t.Errorf("%v, %d spans", after, len(o.spans.GetSpans()))
	}
}

func TestWhatGoesWrongIsCountedByItsName(t *testing.T) {
	t.Parallel()
	o := newObserved(t)
	client := o.logto.SignIn(t, o.router, logtotest.DefaultUser())
	o.spans.Reset()
	o.logto.Misbehave(faults.TokenDown)
	o.logto.Advance(61 * time.Minute)
	if _, err := client.Get("/profile"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.logto.Visitor(t, o.router).Get("/callback?state=x&code=secret-code"); err != nil {
		t.Fatal(err)
	}
	if err := o.auth.RevokeUser(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	found := o.measurements()
	for _, name := range []string{
		"logtogin.refreshes error.type=provider_unavailable", "logtogin.provider.calls call=refresh,error.type=provider_unavailable",
		"logtogin.sign_ins error.type=no_attempt,outcome=failed", "logtogin.revocations cause=user",
	} {
		if found[name] != 1 {
			t.Errorf("%s: %d of %v", name, found[name], found)
		}
	}
	for _, span := range o.spans.GetSpans() {
		text := fmt.Sprintf("%+v", span)
		if isRefresh := strings.Contains(span.Name, "refresh"); isRefresh != (span.Status.Code == codes.Error) || strings.Contains(text, "somebody") || strings.Contains(text, "secret") {
			t.Error(text)
		}
	}
}

// Spans are children of the request's.
func TestSpansBelongToTheRequest(t *testing.T) {
	t.Parallel()
	o := newObserved(t)
	o.router.GET("/user-info", o.auth.Guard(), func(c *gin.Context) {
		ctx, span := o.tracer.Tracer("test").Start(c.Request.Context(), "request")
		defer span.End()
		c.Request = c.Request.WithContext(ctx)
		if _, err := o.auth.UserInfo(c); err != nil {
			t.Error(err)
		}
		c.Status(http.StatusOK)
	})
	client := o.logto.SignIn(t, o.router, logtotest.DefaultUser())
	o.spans.Reset()
	if _, err := client.Get("/user-info"); err != nil {
		t.Fatal(err)
	}
	spans := o.spans.GetSpans()
	if len(spans) != 2 || spans[0].Name != "logto user_info" || spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() {
		t.Errorf("%+v", spans)
	}
}
