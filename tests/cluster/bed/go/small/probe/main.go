// What the bed's own tests run in pods: a server that tells who it is, a client, a webhook, and small errands.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// say prints a line with the time, and appends it to /events/log where a test follows several containers.
func say(words string) {
	line := fmt.Sprintf("%s %s %s\n", time.Now().Format("15:04:05.000"), os.Getenv("NAME"), words)
	fmt.Print(line)
	if file, err := os.OpenFile("/events/log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err == nil {
		file.WriteString(line)
		file.Close()
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func duration(text string) time.Duration {
	value, err := time.ParseDuration(text)
	fail(err)
	return value
}

// serve ADDRESS [LINGER]: answers with its name and host; ends LINGER after SIGTERM. Healthy READY_AFTER the start.
func serve(arguments []string) {
	host, _ := os.Hostname()
	begin, delay := time.Now(), time.Duration(0)
	if text := os.Getenv("READY_AFTER"); text != "" {
		delay = duration(text)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "name=%s host=%s peer=%s asked=%s\n", os.Getenv("NAME"), host, r.RemoteAddr, r.Host)
	})
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Since(begin) < delay {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/burn", func(w http.ResponseWriter, r *http.Request) {
		for end := time.Now().Add(duration(r.URL.Query().Get("for"))); time.Now().Before(end); {
		}
	})
	say("starts")
	go func() { fail(http.ListenAndServe(arguments[0], nil)) }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	say("SIGTERM")
	if len(arguments) > 1 {
		time.Sleep(duration(arguments[1]))
	}
	say("ends")
}

// get URL [COUNT]: prints the answers, each over a connection of its own; fails if one of them fails.
func get(arguments []string) {
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	count := 1
	if len(arguments) > 1 {
		count, _ = strconv.Atoi(arguments[1])
	}
	for range count {
		response, err := client.Get(arguments[0])
		fail(err)
		body, err := io.ReadAll(response.Body)
		fail(err)
		fmt.Print(string(body))
	}
}

// webhook ADDRESS CERTIFICATE KEY LABEL: a mutating webhook that annotates with LABEL.
func webhook(arguments []string) {
	http.HandleFunc("/mutate", func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Request struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		json.NewDecoder(r.Body).Decode(&review)
		value := map[string]string{"webhook": arguments[3]}
		patch, _ := json.Marshal([]any{map[string]any{"op": "add", "path": "/metadata/annotations", "value": value}})
		json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
			"response": map[string]any{"uid": review.Request.UID, "allowed": true, "patchType": "JSONPatch",
				"patch": base64.StdEncoding.EncodeToString(patch)},
		})
	})
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	fail(http.ListenAndServeTLS(arguments[0], arguments[1], arguments[2], nil))
}

// fill PATH: writes until the disk is full and prints how many bytes it took.
func fill(arguments []string) {
	file, err := os.Create(arguments[0])
	fail(err)
	written, block := 0, make([]byte, 1<<16)
	for {
		count, err := file.Write(block)
		written += count
		if err != nil {
			fmt.Println(written, err)
			return
		}
	}
}

var errands = map[string]func([]string){
	"serve":   serve,
	"get":     get,
	"webhook": webhook,
	"fill":    fill,
	"say":     func(a []string) { say(a[0]) },
	"wait":    func(a []string) { say("begins " + a[1]); time.Sleep(duration(a[0])); say("ends " + a[1]) },
	"sleep":   func(a []string) { time.Sleep(duration(a[0])) },
	"cat":     func(a []string) { content, err := os.ReadFile(a[0]); fail(err); fmt.Print(string(content)) },
	"touch":   func(a []string) { fail(os.WriteFile(a[0], []byte("here"), 0o644)) },
	"exec":    func(a []string) { fail(syscall.Exec(a[0], a, os.Environ())) },
}

func main() {
	errand, known := errands[os.Args[1]]
	if !known {
		fmt.Fprintln(os.Stderr, os.Args[1]+": no such errand")
		os.Exit(2)
	}
	errand(os.Args[2:])
}
