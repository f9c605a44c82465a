package bulla

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
)

// Variable is the name of the variable that `bulla keys export --format env` sets.
const Variable = "BULLA_EXPORT"

// BadExport says that the input is not an output of `bulla keys export`. It names the violated rule, never a key.
type BadExport string

func (rule BadExport) Error() string { return "not a key export: " + string(rule) }

var (
	purposeName  = regexp.MustCompile(`\A[a-z][a-z0-9-]{0,31}\z`)
	audienceName = regexp.MustCompile(`\A([a-z0-9][a-z0-9.-]{0,63})?\z`)
	kidDigits    = regexp.MustCompile(`\A[0-9a-f]{8}\z`)
	stateName    = regexp.MustCompile(`\A(staged|active|retired)\z`)
)

// ParseKeys reads the JSON form of an export; the error is BadExport.
func ParseKeys(export []byte) (*Keys, error) {
	object, err := strictObject(export)
	if err != nil {
		return nil, BadExport("it is not strict JSON, " + err.Error())
	}
	file := fields{object, nil}
	file.only("version", "purpose", "audience", "max_age", "not_before", "keys")
	keys := &Keys{keys: map[string]key{}}
	file.must(file.number("version") == "1", "its version is not 1")
	keys.purpose = file.text("purpose", purposeName, "its purpose is not a valid purpose")
	keys.audience = file.text("audience", audienceName, "its audience is not a valid audience")
	keys.maxAge, err = strconv.ParseUint(file.number("max_age"), 10, 64)
	file.must(err == nil, "its max_age is not a number of seconds")
	keys.notBefore, err = strconv.ParseInt(file.number("not_before"), 10, 64)
	file.must(err == nil, "its not_before is not a time")
	lines, isList := object["keys"].([]any)
	file.must(isList, "its keys are not a list")
	for _, line := range lines {
		keys.add(&file, line)
	}
	if file.err != nil {
		return nil, file.err
	}
	return keys, nil
}

// KeysFromEnv reads the variable BULLA_EXPORT that `bulla keys export --format env` sets: the JSON form in base64url.
func KeysFromEnv() (*Keys, error) {
	export, ok := decode(os.Getenv(Variable))
	if !ok || len(export) == 0 {
		return nil, BadExport(Variable + " is not set, or not base64url")
	}
	return ParseKeys(export)
}

func (k *Keys) add(file *fields, value any) {
	object, isObject := value.(map[string]any)
	line := fields{object, file.err}
	line.must(isObject, "a key is not an object")
	line.only("kid", "state", "suite", "key")
	kid := line.text("kid", kidDigits, "a kid is not 8 lower-case hex digits")
	state := line.text("state", stateName, "a key is neither staged nor active nor retired")
	suiteName, _ := object["suite"].(string)
	suite := suites[suiteName]
	line.must(suite != nil, "a suite is unknown")
	text, _ := object["key"].(string)
	bytes, ok := decode(text)
	line.must(ok && len(bytes) == 32, "a key is not 43 characters of base64url")
	_, twice := k.keys[kid]
	line.must(!twice, "a kid is listed twice")
	line.must(state != "active" || k.active == "", "more than one key is active")
	if file.err = line.err; file.err != nil {
		return
	}
	key := key{suite: suite}
	if suite.aead != nil {
		key.aead = suite.aead(bytes)
	}
	k.keys[kid] = key
	if state == "active" {
		k.active = kid
	}
}

// fields are the members of an object and the first rule that they violate.
type fields struct {
	members map[string]any
	err     error
}

func (f *fields) must(holds bool, rule string) {
	if !holds && f.err == nil {
		f.err = BadExport(rule)
	}
}

func (f *fields) only(names ...string) {
	for _, name := range names {
		_, there := f.members[name]
		f.must(there, "a field is missing")
	}
	f.must(len(f.members) == len(names), "a field is unknown")
}

func (f *fields) text(name string, pattern *regexp.Regexp, rule string) string {
	text, isText := f.members[name].(string)
	f.must(isText && pattern.MatchString(text), rule)
	return text
}

func (f *fields) number(name string) string {
	number, _ := f.members[name].(json.Number)
	return number.String()
}
