package bulla

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// get sends one Authorization header for each value; it returns status, challenge and body.
func get(t *testing.T, url string, values ...string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		request.Header.Add("Authorization", value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %v %s", answer.StatusCode, answer.Header["Www-Authenticate"], body)
}

func TestAResourceServerForPeopleAndMachinesTellsTheirTokensApart(t *testing.T) {
	people := one(t, "xaes-256-gcm")
	machines := parse(t, file(line(2, "active", "xaes-256-gcm").with("kid", "00000001")).with("purpose", "service"))
	both := Openers{people, machines}
	person := seal(t, people, `{"id":"42"}`, time.Now())
	machine := seal(t, machines, `{"id":"client:cron"}`, time.Now())
	for _, c := range []struct {
		token    string
		purposes []string
		want     string
	}{
		{person, nil, "access 42"},
		{machine, nil, "purpose"},
		{person, []string{"service"}, "purpose"},
		{machine, []string{"service"}, "service client:cron"},
		{person, []string{"access", "service"}, "access 42"},
		{machine, []string{"access", "service"}, "service client:cron"},
		{"", nil, "length"},
		{machine[:80] + "A" + machine[81:], nil, "tag"},
	} {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Authorization", "Bearer "+c.token)
		opened, err := FromRequest(both, request, c.purposes...)
		said := fmt.Sprintf("%s %v", opened.Purpose, opened.Payload["id"])
		if refused, ok := err.(Refused); ok {
			said = string(refused)
		}
		if said != c.want {
			t.Error(c.purposes, said, c.want)
		}
		passed := false
		answer := httptest.NewRecorder()
		Bearer(both, c.purposes...)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(answer, request)
		if passed != (err == nil) || (answer.Code == 401) == passed {
			t.Error(c.purposes, passed, answer.Code)
		}
	}
}

func TestATokenPassesAndEveryRefusalGetsTheSameAnswer(t *testing.T) {
	keys := one(t, "xaes-256-gcm")
	server := httptest.NewServer(Bearer(keys)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		opened, ok := FromContext(r.Context())
		fmt.Fprint(w, ok, opened.Payload["id"])
	})))
	defer server.Close()
	token := seal(t, keys, `{"id":"42"}`, time.Now())
	for _, scheme := range []string{"Bearer", "bearer", "BEARER"} {
		if said := get(t, server.URL, scheme+" "+token); said != "200 [] true42" {
			t.Error(scheme, said)
		}
	}
	attempts := [][]string{{}, {"Bearer " + token, "Bearer " + token}}
	old := seal(t, keys, "{}", now)
	for _, value := range []string{"Bearer " + old, "Bearer  " + token, "Bearer " + token + "," + token, "Bearer", "Bearer ", "Basic " + token, token, ""} {
		attempts = append(attempts, []string{value})
	}
	for _, attempt := range attempts {
		if said := get(t, server.URL, attempt...); said != "401 [Bearer] token refused\n" {
			t.Error(attempt, said)
		}
	}
	if _, ok := FromContext(httptest.NewRequest(http.MethodGet, "/", nil).Context()); ok {
		t.Error("opened without a token")
	}
}

func TestTheExampleOfThePageWorks(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n```go\n")
	block, _, _ := strings.Cut(rest, "\n```")
	if lines := strings.Count(block, "\n") + 1; lines < 5 || lines > 10 {
		t.Fatal(lines, "lines")
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	keys := file(line(1, "active", "xaes-256-gcm"))
	serve := `listener, err := net.Listen("tcp", "127.0.0.1:0"); fmt.Println("http://", listener.Addr(), err); log.Fatal(http.Serve(listener, nil))`
	example := strings.Replace(block, `log.Fatal(http.ListenAndServe(":8000", nil))`, serve, 1)
	for name, text := range map[string]string{
		"billing.keys.json": string(keys.json(t)),
		"go.mod":            "module example\n\ngo 1.19\n\nrequire bulla v0.0.0\n\nreplace bulla => " + here + "\n",
		"main.go":           "package main\n\nimport (\"bulla\"; \"fmt\"; \"log\"; \"net\"; \"net/http\")\n\nfunc main() {\n" + example + "\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "example", ".")
	build.Dir = home
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatal(string(said))
	}
	server := exec.Command(filepath.Join(home, "example"))
	server.Dir = home
	output, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(strings.ReplaceAll(address, " ", ""), "<nil>\n") + "/invoices"
	if said := get(t, url, "Bearer "+seal(t, parse(t, keys), `{"id":"42"}`, time.Now())); said != "200 [] invoices of 42\n" {
		t.Error(said)
	}
	if said := get(t, url); said != "401 [Bearer] token refused\n" {
		t.Error(said)
	}
}
