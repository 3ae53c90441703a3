package logtogin

import (
	"bufio"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// sendingWriter tells somebody that the response is about to be sent.
type sendingWriter struct {
	gin.ResponseWriter
	observer interface{ beforeSending() }
}

func (w *sendingWriter) Write(data []byte) (int, error) {
	w.observer.beforeSending()
	return w.ResponseWriter.Write(data)
}

func (w *sendingWriter) WriteString(data string) (int, error) {
	w.observer.beforeSending()
	return w.ResponseWriter.WriteString(data)
}

func (w *sendingWriter) WriteHeaderNow() {
	if status := w.Status(); status < http.StatusOK && status != http.StatusSwitchingProtocols && !w.Written() {
		w.writeInformation(status)
		return
	}
	w.observer.beforeSending()
	w.ResponseWriter.WriteHeaderNow()
}

func (w *sendingWriter) Flush() {
	w.observer.beforeSending()
	w.ResponseWriter.Flush()
}

func (w *sendingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.observer.beforeSending()
	return w.ResponseWriter.Hijack()
}

// writeInformation sends a status like 103 (RFC 9110, section 15.2), after which the response is
// still to come. Gin's own writer would take it for the response.
func (w *sendingWriter) writeInformation(status int) {
	var last http.ResponseWriter = w.ResponseWriter
	for {
		wrapper, ok := last.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		last = wrapper.Unwrap()
	}
	last.WriteHeader(status)
}

// goneWriter is the writer of a response that a time limit has given.
type goneWriter struct{ gin.ResponseWriter }

func (goneWriter) Header() http.Header             { return http.Header{} }
func (goneWriter) WriteHeader(int)                 {}
func (goneWriter) WriteHeaderNow()                 {}
func (goneWriter) Write([]byte) (int, error)       { return 0, http.ErrHandlerTimeout }
func (goneWriter) WriteString(string) (int, error) { return 0, http.ErrHandlerTimeout }
func (goneWriter) Written() bool                   { return true }
func (goneWriter) Flush()                          {}
func (goneWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrHandlerTimeout
}

// Unwrap is for http.ResponseController.
func (w *sendingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
