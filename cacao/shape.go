package cacao

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// props are the properties of an object: the kind of each, and a ! where it is required.
type props map[string]string

var (
	playbookProps = props{
		"type": "text!", "spec_version": "text!", "id": "id!", "name": "text!", "description": "text",
		"playbook_types": "texts", "playbook_activities": "texts", "playbook_processing_summary": "map",
		"created_by": "id!", "created": "time!", "modified": "time!", "revoked": "bool", "valid_from": "time",
		"valid_until": "time", "derived_from": "ids", "related_to": "ids", "priority": "scale", "severity": "scale",
		"impact": "scale", "industry_sectors": "texts", "labels": "texts", "external_references": "list",
		"markings": "ids", "playbook_variables": "map", "workflow_start": "id!", "workflow_exception": "id",
		"workflow": "map!", "playbook_extensions": "map", "authentication_info_definitions": "map",
		"agent_definitions": "map", "target_definitions": "map", "extension_definitions": "map",
		"data_marking_definitions": "map", "signatures": "list",
	}
	stepCommon = props{
		"type": "text!", "name": "text", "description": "text", "external_references": "list", "delay": "int",
		"timeout": "int", "step_variables": "map", "owner": "id", "on_completion": "id", "on_success": "id",
		"on_failure": "id", "step_extensions": "map",
	}
	stepProps = map[string]props{
		StartStep: {}, EndStep: {},
		ActionStep:   {"commands": "list", "agent": "id", "targets": "ids", "in_args": "texts", "out_args": "texts"},
		PlaybookStep: {"playbook_id": "id!", "playbook_version": "time", "in_args": "texts", "out_args": "texts"},
		ParallelStep: {"next_steps": "ids!"},
		IfStep:       {"condition": "text!", "on_true": "id!", "on_false": "id"},
		WhileStep:    {"condition": "text!", "on_true": "id!"},
		SwitchStep:   {"switch": "text!", "cases": "map!"},
	}
	commandProps = props{
		"type": "text!", "description": "text", "command": "text", "command_b64": "text", "version": "text",
		"playbook_activity": "text", "external_references": "list", "headers": "map", "content": "text", "content_b64": "text",
	}
	agentProps = props{
		"type": "text!", "name": "text!", "description": "text", "location": "map", "agent_target_extensions": "map",
		"contact": "map", "address": "map", "port": "text", "authentication_info": "id", "category": "texts",
		"logical": "texts", "sector": "text",
	}
	variableProps = props{"type": "text!", "description": "text", "value": "any", "constant": "bool", "external": "bool"}
	secretProps   = props{
		"type": "text!", "name": "text", "description": "text", "authentication_info_extensions": "map", "kms": "bool",
		"kms_key_identifier": "text", "user_id": "text", "username": "text", "password": "text", "oauth_header": "text", "token": "text",
	}
	markingProps = props{
		"type": "text!", "id": "id!", "name": "text", "description": "text", "created_by": "id!", "created": "time!",
		"revoked": "bool", "valid_from": "time", "valid_until": "time", "labels": "texts", "external_references": "list",
		"marking_extensions": "map", "statement": "text", "tlpv2_level": "text", "tlp": "text", "iep_version": "int",
		"start_date": "time", "end_date": "any", "encrypt_in_transit": "text", "permitted_actions": "text",
		"affected_party_notifications": "text", "attribution": "text", "unmodified_resale": "text",
	}
	extensionProps = props{
		"type": "text!", "name": "text!", "description": "text", "created_by": "id!", "schema": "text!", "version": "text!",
		"external_references": "list",
	}
	signatureProps = props{
		"type": "text!", "id": "id!", "created_by": "id", "created": "time!", "modified": "time!", "revoked": "bool",
		"signee": "text!", "valid_from": "time", "valid_until": "time", "related_to": "id!", "related_version": "time!",
		"hash_algorithm": "text!", "algorithm": "text!", "public_key": "text", "public_cert_chain": "texts",
		"cert_url": "text", "thumbprint": "text", "value": "text!", "signature": "map",
	}
	summaryProps = props{
		"manual_playbook": "bool", "external_playbooks": "bool", "parallel_processing": "bool", "if_logic": "bool",
		"while_logic": "bool", "switch_logic": "bool", "temporal_logic": "bool", "data_markings": "bool",
		"digital_signatures": "bool", "countersigned_signatures": "bool", "extensions": "bool",
	}
)

var (
	idPattern   = regexp.MustCompile(`^[a-z][a-z0-9-]+[a-z0-9]--[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$`)
	timePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	namePattern = regexp.MustCompile(`^__[a-zA-Z_][a-zA-Z0-9_-]{0,199}__$`)
)

// shape collects what is wrong with a document before its references are looked at. What is fatal
// keeps it from being read into a Playbook at all.
type shape struct {
	problems Problems
	fatal    Problems
}

func (s *shape) stop(pointer, message, hint string) {
	s.fatal.err(pointer, message, hint)
	s.problems.err(pointer, message, hint)
}

// checkShape checks the kinds of all values of a document that we know.
func checkShape(tree any) *shape {
	s := &shape{}
	root, ok := tree.(object)
	if !ok {
		s.stop("", "a playbook is a JSON object, this is "+kindOf(tree), "")
		return s
	}
	if s.version(root); len(s.fatal) > 0 {
		return s // what else differs follows from that
	}
	s.object("", root, playbookProps, nil)
	s.each("/workflow", root["workflow"], s.step)
	s.each("/playbook_variables", root["playbook_variables"], s.variable)
	for _, part := range []string{"agent_definitions", "target_definitions"} {
		s.each("/"+part, root[part], s.agent)
	}
	for part, want := range map[string]props{
		"authentication_info_definitions": secretProps, "data_marking_definitions": markingProps, "extension_definitions": extensionProps,
	} {
		s.each("/"+part, root[part], func(ptr string, o object) { s.object(ptr, o, want, nil) })
	}
	if summary, ok := root["playbook_processing_summary"].(object); ok {
		s.object("/playbook_processing_summary", summary, summaryProps, nil)
	}
	s.signatures("/signatures", root["signatures"])
	return s
}

// version tells a CACAO 2.0 playbook from what looks like one.
func (s *shape) version(root object) {
	if kind, has := root["type"].(string); has && kind != "playbook" {
		s.stop("/type", fmt.Sprintf("the type is %q, a playbook has %q", kind, "playbook"), "a playbook template (1.x) or a bundle is something else: take the playbook out of it")
	}
	version, has := root["spec_version"].(string)
	switch {
	case !has:
		s.stop("", "there is no spec_version: this is no CACAO playbook, or one from before 1.0", `write it as CACAO 2.0 with "spec_version": "cacao-2.0"`)
	case strings.HasPrefix(version, "1.") || strings.HasPrefix(version, "cacao-1"):
		s.stop("/spec_version", fmt.Sprintf("this is CACAO %s, only 2.0 is read", strings.TrimPrefix(version, "cacao-")),
			"2.0 has action steps for single ones, agents for target, ids of the form TYPE--UUID as keys of the workflow: convert it")
	case version != "cacao-2.0":
		s.stop("/spec_version", fmt.Sprintf("unknown spec_version %q", version), `only "cacao-2.0" is read`)
	}
}

// object checks the values of one object against its properties.
func (s *shape) object(ptr string, o object, want, more props) {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		kind := want[key]
		if kind == "" {
			kind = more[key]
		}
		if kind == "" {
			s.unknown(ptr, key)
			continue
		}
		s.value(join(ptr, key), o[key], strings.TrimSuffix(kind, "!"))
	}
	for _, ps := range []props{want, more} {
		for key, kind := range ps {
			if _, has := o[key]; !has && strings.HasSuffix(kind, "!") {
				s.problems.err(ptr, key+" is missing", "")
			}
		}
	}
}

func (s *shape) unknown(ptr, key string) {
	hint := "it is kept as it is and means nothing here; what is your own belongs into an extension"
	if key == "next_step" || key == "next_steps" || key == "on_true" {
		hint = "CACAO links steps by on_completion, or by on_success and on_failure; branches by type of step"
	}
	s.problems.warn(join(ptr, key), "unknown property", hint)
}

// value checks one value against a kind.
func (s *shape) value(ptr string, v any, kind string) {
	switch kind {
	case "text", "id", "time":
		text, ok := v.(string)
		if !ok {
			s.stop(ptr, "must be a string, is "+kindOf(v), "")
			return
		}
		s.format(ptr, text, kind)
	case "bool":
		if _, ok := v.(bool); !ok {
			s.stop(ptr, "must be true or false, is "+kindOf(v), "write it without quotes")
		}
	case "int", "scale":
		s.integer(ptr, v, kind)
	case "map":
		if _, ok := v.(object); !ok {
			s.stop(ptr, "must be an object, is "+kindOf(v), "")
		}
	case "texts", "ids", "list":
		s.list(ptr, v, kind)
	}
}

// list checks a list and, where it is one of texts or ids, its items.
func (s *shape) list(ptr string, v any, kind string) {
	list, ok := v.([]any)
	switch {
	case !ok:
		s.stop(ptr, "must be a list, is "+kindOf(v), "")
	case len(list) == 0:
		s.problems.warn(ptr, "empty list", "leave the property out")
	case kind != "list":
		for i, item := range list {
			s.value(join(ptr, i), item, strings.TrimSuffix(kind, "s"))
		}
	}
}

// format checks the form of ids and times.
func (s *shape) format(ptr, text, kind string) {
	switch kind {
	case "id":
		if !idPattern.MatchString(text) {
			s.problems.err(ptr, fmt.Sprintf("%q is no identifier", text), "an identifier is TYPE--UUID, such as action--3d9b2e5a-6a0f-4c1e-9a53-0d6a1c0c7f11")
		}
	case "time":
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			s.problems.err(ptr, fmt.Sprintf("%q is no timestamp", text), "write it like 2026-01-31T08:00:00.000Z")
		} else if !timePattern.MatchString(text) {
			s.problems.warn(ptr, fmt.Sprintf("%q is not in UTC with three digits after the point", text), "write it like 2026-01-31T08:00:00.000Z")
		}
	}
}

func (s *shape) integer(ptr string, v any, kind string) {
	num, ok := v.(json.Number)
	if !ok {
		s.stop(ptr, "must be a whole number, is "+kindOf(v), "write it without quotes")
		return
	}
	n, err := strconv.ParseInt(string(num), 10, 64)
	switch {
	case err != nil || n > 1<<53:
		s.stop(ptr, fmt.Sprintf("%s is no whole number that fits", num), "")
	case n < 0, kind == "scale" && n > 100:
		s.problems.err(ptr, fmt.Sprintf("%d is out of range", n), map[string]string{"scale": "0 to 100", "int": "0 or more"}[kind])
	}
}

// each calls check for the objects of a map; others in it are mistakes.
func (s *shape) each(ptr string, v any, check func(string, object)) {
	m, _ := v.(object) // what is no object was told of already
	for _, key := range slices.Sorted(maps.Keys(m)) {
		o, ok := m[key].(object)
		if !ok {
			s.stop(join(ptr, key), "must be an object, is "+kindOf(m[key]), "")
			continue
		}
		check(join(ptr, key), o)
	}
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "true or false"
	case json.Number:
		return "the number " + v.String()
	case []any:
		return "a list"
	}
	return "an object"
}
