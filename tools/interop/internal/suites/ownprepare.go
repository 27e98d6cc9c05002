package suites

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gregor-broker/gregor/tools/interop/internal/rig"
)

// Ports that are compiled into sarama's tests by setup.sh, and one for the proxy's own interface.
const (
	toxiproxyPort = 24174
	proxyPort     = 24190 // and the five above
)

// proxies starts toxiproxy with the five proxies that sarama's tests cut and slow down. One broker stands behind all
// of them and advertises the first.
func proxies(t *rig.T, b *rig.Broker) error {
	text, err := os.ReadFile(b.Properties)
	if err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "advertised.listeners=") {
			line = fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:%d\n", proxyPort+1)
		}
		lines = append(lines, line)
	}
	if err := os.WriteFile(b.Properties, []byte(strings.Join(lines, "")), 0o644); err != nil {
		return err
	}
	startChild(t, "toxiproxy", exec.Command(filepath.Join(t.Cache, "suites", "toxiproxy"), "-port", fmt.Sprint(toxiproxyPort)))
	for i := 1; i <= 5; i++ {
		body, err := json.Marshal(map[string]any{
			"name": fmt.Sprintf("kafka%d", i), "listen": fmt.Sprintf("127.0.0.1:%d", proxyPort+i), "upstream": b.Addr, "enabled": true,
		})
		if err != nil {
			return err
		}
		if err := postUntil(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/proxies", toxiproxyPort), body); err != nil {
			return err
		}
	}
	return nil
}

// postUntil posts body until the server is there and takes it, for at most 10 s.
func postUntil(ctx context.Context, url string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for last := error(nil); ; {
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(q)
		if err == nil {
			text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusCreated {
				return nil
			}
			err = fmt.Errorf("%s: %s %s", url, resp.Status, text)
		}
		if ctx.Err() != nil {
			return cmp.Or(last, err)
		}
		last = err
		time.Sleep(20 * time.Millisecond)
	}
}

// confluentConfig writes the testconf.json without which everything is skipped, in a working directory of its own.
func confluentConfig(_ *rig.T, b *rig.Broker) error {
	dir := filepath.Join(b.Dir, "suite")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{
		"Brokers": b.Addr, "BrokersSasl": b.Addr, "SaslUsername": "testuser", "SaslPassword": "testpass", "SaslMechanism": "PLAIN",
		"TopicName": "test", "GroupID": "testgroup", "PerfMsgCount": 50000, "PerfMsgSize": 100,
		"Config": []string{"api.version.request=true", "broker.address.family=v4"},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "testconf.json"), text, 0o644)
}
