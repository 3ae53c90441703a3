package response

import (
	"bufio"
	"net"
	"net/http"
)

// Writer has the methods of gin.ResponseWriter.
type Writer interface {
	http.ResponseWriter
	http.Hijacker
	http.Flusher
	CloseNotify() <-chan bool
	Status() int
	Size() int
	WriteString(string) (int, error)
	Written() bool
	WriteHeaderNow()
	Pusher() http.Pusher
}

// Observer learns that a response is about to be sent.
type Observer interface {
	// BeforeSending is called before each part of the response, with its header. isSent says that changes
	// of the header come too late.
	BeforeSending(header http.Header, isSent bool)
}

// ObserverFunc is an Observer without a look at the header.
type ObserverFunc func()

// BeforeSending implements Observer.
func (f ObserverFunc) BeforeSending(http.Header, bool) { f() }

// Sending is a Writer that tells an Observer when the response is about to be sent.
type Sending struct {
	Writer
	// Sent is the header of Writer, read when it was wrapped: Gin uses Writer again for another request, while a
	// handler may still run that a time limit has given up.
	Sent     http.Header
	observer Observer
}

// NewSending wraps a writer.
func NewSending(w Writer, observer Observer) *Sending { return &Sending{w, w.Header(), observer} }

func (w *Sending) tell() { w.observer.BeforeSending(w.Sent, w.Written()) }

// Write sends a part of the body.
func (w *Sending) Write(data []byte) (int, error) {
	w.tell()
	return w.Writer.Write(data)
}

// WriteString is Write.
func (w *Sending) WriteString(data string) (int, error) {
	w.tell()
	return w.Writer.WriteString(data)
}

// WriteHeaderNow sends the header. A status like 103 (RFC 9110, section 15.2) only informs, and the response follows.
// Gin's own writer would take it for the response, so the writer below all wrappers sends it.
func (w *Sending) WriteHeaderNow() {
	status := w.Status()
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols || w.Written() {
		w.tell()
		w.Writer.WriteHeaderNow()
		return
	}
	type wrapper interface{ Unwrap() http.ResponseWriter }
	var last http.ResponseWriter = w.Writer
	for outer, ok := last.(wrapper); ok; outer, ok = last.(wrapper) {
		last = outer.Unwrap()
	}
	last.WriteHeader(status)
}

// Flush sends what has been written.
func (w *Sending) Flush() {
	w.tell()
	w.Writer.Flush()
}

// Hijack hands the connection over to the handler.
func (w *Sending) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.tell()
	return w.Writer.Hijack()
}

// Unwrap is for http.ResponseController.
func (w *Sending) Unwrap() http.ResponseWriter { return w.Writer }

// ErrorWriter lets no error look like success.
type ErrorWriter struct {
	Writer
	// ErrorStatus replaces every status that is neither an error nor a redirect.
	ErrorStatus int
	// IsRedirect says that the handler has chosen a redirect.
	IsRedirect bool
}

// Unwrap is for http.ResponseController.
func (w *ErrorWriter) Unwrap() http.ResponseWriter { return w.Writer }

// WriteHeader sets the status of an error or a redirect, and ErrorStatus for any other one.
func (w *ErrorWriter) WriteHeader(status int) {
	if status < http.StatusMultipleChoices || status == http.StatusNotModified {
		status = w.ErrorStatus
	}
	w.IsRedirect = status < http.StatusBadRequest
	w.Writer.WriteHeader(status)
}

// Gone is the writer of a response that a time limit has given. It drops what is written.
type Gone struct{ Writer }

// Header returns an empty header, which nobody sends.
func (Gone) Header() http.Header { return http.Header{} }

// WriteHeader drops the status.
func (Gone) WriteHeader(int) {}

// WriteHeaderNow does nothing.
func (Gone) WriteHeaderNow() {}

// Write returns http.ErrHandlerTimeout.
func (Gone) Write([]byte) (int, error) { return 0, http.ErrHandlerTimeout }

// WriteString returns http.ErrHandlerTimeout.
func (Gone) WriteString(string) (int, error) { return 0, http.ErrHandlerTimeout }

// Written returns true.
func (Gone) Written() bool { return true }

// Flush does nothing.
func (Gone) Flush() {}

// Hijack returns http.ErrHandlerTimeout.
func (Gone) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, http.ErrHandlerTimeout }
