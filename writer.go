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

// Unwrap is for http.ResponseController.
func (w *sendingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
