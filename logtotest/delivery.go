package logtotest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// Delivery is what the server has sent to an application, and what came of it.
type Delivery struct {
	URL    string
	Header http.Header
	Body   string
	// Status is the status of the answer, 0 if there was none.
	Status int
}

// Deliveries returns the logout tokens and webhooks that were sent since the
// start, in the order in which they were answered.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Delivery(nil), s.deliveries...)
}

// post sends something to an application and never follows a redirect.
func (s *Server) post(address string, timeout time.Duration, header http.Header, body string) {
	ctx, cancel := context.WithTimeout(s.serving.Lifetime(), timeout)
	defer cancel()
	delivery := Delivery{URL: address, Header: header, Body: body}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err == nil {
		request.Header = header.Clone()
		response, err := transport{s}.RoundTrip(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
			_ = response.Body.Close()
			delivery.Status = response.StatusCode
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, delivery)
}
