package stores_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/boj/redistore"
	"github.com/bradfitz/gomemcache/memcache"
	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/cookie"
	ginmemcached "github.com/gin-contrib/sessions/memcached"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-contrib/sessions/mongo/mongodriver"
	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gomodule/redigo/redis"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/logtogin/logtogin/integration/servers"
)

// backend is where a store keeps sessions, with a door at the back.
type backend struct {
	// open returns a store, as each instance of an application opens one.
	open func(t *testing.T) ginsessions.Store
	// records returns what a server-side store holds, by key. Nil if browsers
	// hold everything.
	records func(t *testing.T) map[string]string
	// write changes a record behind the store's back.
	write func(t *testing.T, key, value string)
	// remedy is what the text of ErrSessionTooLarge recommends. Empty if there
	// is room for some kilobytes more than an ordinary session has.
	remedy string
}

func (b backend) remembers() bool { return b.records != nil }

// storeKey signs the cookies of the stores. Two stores with the same key can
// read each other's.
var storeKey = []byte("a key of thirty-two bytes, at least")

const (
	raiseSetMaxLength = "with SetMaxLength"
	raiseMaxLength    = "with MaxLength"
	noSetter          = "no setter"

	enough = 64 << 10
)

func ownCookies(*testing.T) backend {
	return backend{open: func(*testing.T) ginsessions.Store { return nil }}
}

func ginCookies(*testing.T) backend {
	return backend{
		open:   func(*testing.T) ginsessions.Store { return cookie.NewStore(storeKey) },
		remedy: noSetter,
	}
}

// inMemory has one store for all instances: another one is another memory.
func inMemory(*testing.T) backend {
	store := memstore.NewStore(storeKey)
	// The store has no way to list what it holds.
	field := reflect.ValueOf(store).Elem().FieldByName("MemStore").Elem().FieldByName("cache").Elem().FieldByName("data")
	type values = map[any]any
	data := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
	return backend{
		open: func(*testing.T) ginsessions.Store { return store },
		records: func(*testing.T) map[string]string {
			found := map[string]string{}
			for entry := data.MapRange(); entry.Next(); {
				for _, value := range entry.Value().Convert(reflect.TypeFor[values]()).Interface().(values) {
					found[entry.Key().String()] += fmt.Sprint(value)
				}
			}
			return found
		},
		write: func(t *testing.T, key, value string) {
			record := data.MapIndex(reflect.ValueOf(key)).Convert(reflect.TypeFor[values]()).Interface().(values)
			if len(record) != 1 {
				t.Fatalf("the session has %d values", len(record))
			}
			for name := range record {
				record[name] = value
			}
		},
	}
}

// onRedis has one of the ways to make a store for Redis.
func onRedis(open func(t *testing.T, server *servers.Server) ginredis.Store, remedy string) func(*testing.T) backend {
	return func(t *testing.T) backend { return redisBackend(servers.Redis(t), open, remedy) }
}

func redisBackend(server *servers.Server, open func(*testing.T, *servers.Server) ginredis.Store, remedy string) backend {
	do := func(t *testing.T, command string, args ...any) any {
		t.Helper()
		conn, err := redis.Dial("tcp", server.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		reply, err := conn.Do(command, args...)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	return backend{
		open: func(t *testing.T) ginsessions.Store {
			store := open(t, server)
			t.Cleanup(func() {
				if inner, err := ginredis.GetRedisStore(store); err != nil || inner.Close() != nil {
					t.Error("the store cannot be closed")
				}
			})
			return store
		},
		records: func(t *testing.T) map[string]string {
			found := map[string]string{}
			keys, err := redis.Strings(do(t, "KEYS", "*"), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				// By the real clock, a record may expire between the two commands.
				value, err := redis.String(do(t, "GET", key), nil)
				if errors.Is(err, redis.ErrNil) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				found[key] = value
			}
			return found
		},
		write:  func(t *testing.T, key, value string) { do(t, "SET", key, value, "KEEPTTL") },
		remedy: remedy,
	}
}

func redisDefault(t *testing.T, server *servers.Server) ginredis.Store {
	t.Helper()
	store, err := ginredis.NewStore(10, "tcp", server.Address(), "", "", storeKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// redisPool has time-outs of its own, unlike NewStore.
func redisPool(t *testing.T, server *servers.Server) ginredis.Store {
	t.Helper()
	const timeout = time.Minute
	store, err := ginredis.NewStoreWithPool(&redis.Pool{
		MaxIdle: 10,
		Dial: func() (redis.Conn, error) {
			return redis.Dial("tcp", server.Address(), redis.DialConnectTimeout(timeout), redis.DialReadTimeout(timeout), redis.DialWriteTimeout(timeout))
		},
		TestOnBorrow: func(conn redis.Conn, _ time.Time) error {
			_, err := conn.Do("PING")
			return err
		},
	}, storeKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func redisRaised(t *testing.T, server *servers.Server) ginredis.Store {
	t.Helper()
	store := redisPool(t, server)
	store.(interface{ SetMaxLength(int) }).SetMaxLength(enough)
	return store
}

func redisJSON(t *testing.T, server *servers.Server) ginredis.Store {
	t.Helper()
	store := redisDefault(t, server)
	inner, err := ginredis.GetRedisStore(store)
	if err != nil {
		t.Fatal(err)
	}
	inner.SetSerializer(redistore.JSONSerializer{})
	return store
}

// raised has the limit of a store raised that has the setter MaxLength.
func raised(store ginsessions.Store) ginsessions.Store {
	store.(interface{ MaxLength(int) }).MaxLength(enough)
	return store
}

func onMemcached(change func(ginsessions.Store) ginsessions.Store, remedy string) func(*testing.T) backend {
	return func(t *testing.T) backend { return memcachedBackend(t, servers.Memcached(t), change, remedy) }
}

func memcachedBackend(t *testing.T, server *servers.Server, change func(ginsessions.Store) ginsessions.Store, remedy string) backend {
	client := memcache.New(server.Address())
	client.MaxIdleConns = 32
	client.Timeout = time.Minute
	t.Cleanup(func() { _ = client.Close() })
	return backend{
		open: func(*testing.T) ginsessions.Store {
			store := ginsessions.Store(ginmemcached.NewStore(client, "", storeKey))
			if change != nil {
				store = change(store)
			}
			return store
		},
		records: func(t *testing.T) map[string]string {
			found := map[string]string{}
			for _, key := range memcachedKeys(t, server) {
				// What has been deleted may be listed until its place is needed.
				if item, err := client.Get(key); err == nil {
					found[key] = string(item.Value)
				} else if !errors.Is(err, memcache.ErrCacheMiss) {
					t.Fatal(err)
				}
			}
			return found
		},
		write: func(t *testing.T, key, value string) {
			if err := client.Set(&memcache.Item{Key: key, Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		},
		remedy: remedy,
	}
}

func memcachedKeys(t *testing.T, server *servers.Server) (keys []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", server.Address(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	const list = "lru_crawler metadump hash\r\n"
	if _, err := conn.Write([]byte(list)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "END":
			return keys
		case strings.HasPrefix(line, "BUSY"):
			if _, err := conn.Write([]byte(list)); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(line, "key="):
			key, _, _ := strings.Cut(strings.TrimPrefix(line, "key="), " ")
			if key, err = url.QueryUnescape(key); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		default:
			t.Fatalf("memcached says %q", line)
		}
	}
	t.Fatalf("memcached ends the connection: %v", lines.Err())
	return nil
}

func onMongoDB(t *testing.T) backend {
	address, _ := servers.MongoDB(t)
	return mongoBackend(t, address)
}

func mongoBackend(t *testing.T, address string) backend {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Ending its sessions is a command that FerretDB does not know.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := client.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	})
	collection := client.Database("test").Collection("sessions")
	return backend{
		open: func(*testing.T) ginsessions.Store {
			return mongodriver.NewStore(collection, 30*24*60*60, false, storeKey)
		},
		records: func(t *testing.T) map[string]string {
			cursor, err := collection.Find(t.Context(), bson.D{})
			if err != nil {
				t.Fatal(err)
			}
			var records []struct {
				ID   string `bson:"_id"`
				Data string
			}
			if err := cursor.All(t.Context(), &records); err != nil {
				t.Fatal(err)
			}
			found := map[string]string{}
			for _, record := range records {
				found[record.ID] = record.Data
			}
			return found
		},
		write: func(t *testing.T, key, value string) {
			if _, err := collection.UpdateByID(t.Context(), key, bson.M{"$set": bson.M{"data": value}}); err != nil {
				t.Fatal(err)
			}
		},
		remedy: noSetter,
	}
}
