package instances

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/logtogin/logtogin/integration/processes"
)

// Cluster are two processes behind one address.
type Cluster struct {
	// URL is where they are together.
	URL string

	raw       [2]string // what each is told
	next      atomic.Uint64
	output    processes.Output
	instances [2]*instance
}

// maxOutput is how many bytes of the end of what the processes write are kept at least.
const maxOutput = 64 << 10

// instance is one of the processes, or what there was of it.
type instance struct {
	mu      sync.Mutex
	address string
	command *exec.Cmd
	input   io.Closer
	killed  bool
}

// New starts the processes. The address is known before them, so that a provider can be
// told of it. The log of the processes appears if the test fails.
func New(tb testing.TB, configure func(baseURL string) Config) *Cluster {
	tb.Helper()
	c := &Cluster{output: processes.Output{Limit: maxOutput}}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
			r.Out.Host = r.In.Host
		},
		Transport: &balancer{cluster: c, transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		ErrorLog:  log.New(io.Discard, "", 0),
	})
	tb.Cleanup(front.Close)
	c.URL = front.URL
	config := configure(c.URL)
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the instances say:\n%s", &c.output)
		}
	})
	for i := range c.instances {
		config.Number = i
		raw, err := json.Marshal(config)
		if err != nil {
			tb.Fatal(err)
		}
		c.raw[i], c.instances[i] = string(raw), &instance{}
		if err := c.Start(i); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() {
			if err := c.instances[i].end(); err != nil {
				tb.Errorf("instance %d: %v", i, err)
			}
		})
	}
	return c
}

// Start starts an instance again after Kill. It has another address of its own then.
func (c *Cluster) Start(i int) error {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), variable+"="+c.raw[i])
	command.Stderr = &c.output
	input, err := command.StdinPipe()
	if err != nil {
		return err
	}
	said, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return fmt.Errorf("instance %d says no address: %w", i, err)
	}
	its := c.instances[i]
	its.mu.Lock()
	defer its.mu.Unlock()
	its.address, its.command, its.input, its.killed = strings.TrimSpace(line), command, input, false
	return nil
}

// Kill ends an instance at once, by SIGKILL.
func (c *Cluster) Kill(i int) {
	its := c.instances[i]
	its.mu.Lock()
	defer its.mu.Unlock()
	if !its.killed {
		its.killed = true
		_ = its.command.Process.Kill()
	}
}

// Output is what the processes have logged so far, of which the beginning may be gone.
func (c *Cluster) Output() string { return c.output.String() }

// Wait returns when an instance is gone after Kill.
func (c *Cluster) Wait(i int) {
	its := c.instances[i]
	its.mu.Lock()
	defer its.mu.Unlock()
	_ = its.input.Close()
	_ = its.command.Wait() // that a signal ended it is no news
}

func (its *instance) end() error {
	its.mu.Lock()
	defer its.mu.Unlock()
	if its.command == nil || its.killed {
		return nil
	}
	_ = its.input.Close()
	return its.command.Wait()
}

// Direct is the address of one instance.
func (c *Cluster) Direct(i int) string {
	its := c.instances[i]
	its.mu.Lock()
	defer its.mu.Unlock()
	return its.address
}

// balancer sends requests to the instances in turn, and to the next one if there is
// nobody at the address of one, as usual balancers do.
type balancer struct {
	cluster   *Cluster
	transport *http.Transport
}

func (b *balancer) RoundTrip(request *http.Request) (response *http.Response, err error) {
	for range b.cluster.instances {
		request.URL.Host = b.cluster.Direct(int(b.cluster.next.Add(1) % 2))
		response, err = b.transport.RoundTrip(request)
		var dialing *net.OpError
		if err == nil || !errors.As(err, &dialing) || dialing.Op != "dial" {
			break
		}
	}
	return response, err
}
