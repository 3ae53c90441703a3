// Package telemetry makes OpenTelemetry spans and metrics of what happens in logtogin:
//
//	onEvent, err := telemetry.New(otel.GetTracerProvider(), otel.GetMeterProvider())
//	// …
//	auth, err := logtogin.Register(router, logtogin.Config{
//		// …
//		OnEvent: onEvent,
//	})
//
// Calls to Logto and refreshes of sessions become spans, as children of the span that is in
// the request's context, and durations in seconds; everything is counted. An ordinary guarded
// page makes neither a span nor a measurement.
//
//	logtogin.sign_ins            counter, by "outcome" (started, finished, failed) and "error.type"
//	logtogin.sign_outs           counter
//	logtogin.refreshes           histogram of seconds, by "error.type"
//	logtogin.provider.calls      histogram of seconds, by "call" and "error.type"
//	logtogin.cache_hits          counter, by "call"
//	logtogin.revocations         counter, by "cause" and "error.type"
//
// "error.type" is logtogin.Event.Reason, of which there are few, and absent if all went
// well. No attribute says who a user is.
package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/logtogin/logtogin"
)

// scope is the name of the instrumentation.
const scope = "github.com/logtogin/logtogin/telemetry"

// seconds are the boundaries of the histograms: a call to Logto takes milliseconds to ten
// seconds.
var seconds = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New returns a function for logtogin.Config.OnEvent. Neither provider may be nil; those of
// OpenTelemetry's noop packages do nothing. The error is that of a meter that refuses an
// instrument.
func New(traces trace.TracerProvider, meters metric.MeterProvider) (func(context.Context, logtogin.Event), error) {
	meter := meters.Meter(scope)
	r := &recorder{tracer: traces.Tracer(scope)}
	var errs [6]error
	r.signIns, errs[0] = meter.Int64Counter("logtogin.sign_ins", metric.WithDescription("Sign-ins that were started, finished or failed."))
	r.signOuts, errs[1] = meter.Int64Counter("logtogin.sign_outs", metric.WithDescription("Sign-outs here."))
	r.refreshes, errs[2] = meter.Float64Histogram("logtogin.refreshes", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("Refreshes of sessions, which requests share."))
	r.calls, errs[3] = meter.Float64Histogram("logtogin.provider.calls", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(seconds...),
		metric.WithDescription("Calls to Logto."))
	r.cacheHits, errs[4] = meter.Int64Counter("logtogin.cache_hits", metric.WithDescription("What needed no call to Logto and no verification."))
	r.revocations, errs[5] = meter.Int64Counter("logtogin.revocations", metric.WithDescription("Logout tokens, webhooks and calls that ended sessions or made them refresh."))
	return r.record, errors.Join(errs[:]...)
}

type recorder struct {
	tracer           trace.Tracer
	signIns          metric.Int64Counter
	signOuts         metric.Int64Counter
	refreshes, calls metric.Float64Histogram
	cacheHits        metric.Int64Counter
	revocations      metric.Int64Counter
}

func (r *recorder) record(ctx context.Context, event logtogin.Event) {
	switch event.Kind {
	case logtogin.EventSignInStarted:
		r.signIns.Add(ctx, 1, with(event, attribute.String("outcome", "started")))
	case logtogin.EventSignInFinished:
		r.signIns.Add(ctx, 1, with(event, attribute.String("outcome", "finished")))
	case logtogin.EventSignInFailed:
		r.signIns.Add(ctx, 1, with(event, attribute.String("outcome", "failed")))
	case logtogin.EventSignedOut:
		r.signOuts.Add(ctx, 1)
	case logtogin.EventRefresh:
		r.refreshes.Record(ctx, event.Duration.Seconds(), with(event))
		r.span(ctx, "logtogin refresh", event)
	case logtogin.EventProviderCall:
		call := attribute.String("call", event.Call)
		r.calls.Record(ctx, event.Duration.Seconds(), with(event, call))
		r.span(ctx, "logto "+event.Call, event, call)
	case logtogin.EventCacheHit:
		r.cacheHits.Add(ctx, 1, with(event, attribute.String("call", event.Call)))
	case logtogin.EventRevocation:
		r.revocations.Add(ctx, 1, with(event, attribute.String("cause", event.Cause)))
	}
}

// with adds what went wrong.
func with(event logtogin.Event, attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(withError(event, attributes)...)
}

func withError(event logtogin.Event, attributes []attribute.KeyValue) []attribute.KeyValue {
	if event.Err != nil {
		attributes = append(attributes, attribute.String("error.type", event.Reason))
	}
	return attributes
}

// span is one of something that has ended just now.
func (r *recorder) span(ctx context.Context, name string, event logtogin.Event, attributes ...attribute.KeyValue) {
	ended := time.Now()
	_, span := r.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(ended.Add(-event.Duration)), trace.WithAttributes(withError(event, attributes)...))
	if event.Err != nil {
		span.SetStatus(codes.Error, event.Reason)
	}
	span.End(trace.WithTimestamp(ended))
}
