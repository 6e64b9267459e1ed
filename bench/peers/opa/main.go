// Evaluates a Rego policy on inputs, one after the other, in this process.
//
//	opa-peer POLICY INPUTS ANSWERS SECONDS
//
// ANSWERS gets, for each input that was reached within the seconds, the rules that
// apply and the microseconds that it took.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/version"
)

// leastInputs are evaluated however long they take.
const leastInputs = 50

type answer struct {
	Rules []string `json:"rules"`
	US    float64  `json:"us"`
}

func readInputs(path string) ([]map[string]any, error) {
	var inputs []map[string]any
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return inputs, json.Unmarshal(text, &inputs)
}

func rulesOf(results rego.ResultSet) ([]string, error) {
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, fmt.Errorf("a query gave %d results", len(results))
	}
	values, ok := results[0].Expressions[0].Value.([]any)
	if !ok {
		return nil, fmt.Errorf("a query gave no set")
	}
	rules := make([]string, 0, len(values))
	for _, value := range values {
		rules = append(rules, value.(string))
	}
	return rules, nil
}

func evaluate(query rego.PreparedEvalQuery, inputs []map[string]any, limit time.Duration) ([]answer, error) {
	ctx := context.Background()
	answers := []answer{}
	end := time.Now().Add(limit)
	for i, input := range inputs {
		if i >= leastInputs && time.Now().After(end) {
			break
		}
		begin := time.Now()
		results, err := query.Eval(ctx, rego.EvalInput(input))
		took := time.Since(begin)
		if err != nil {
			return nil, err
		}
		rules, err := rulesOf(results)
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer{rules, float64(took.Nanoseconds()) / 1000})
	}
	return answers, nil
}

func run(policyPath, inputsPath, answersPath, seconds string) error {
	limit, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return err
	}
	policy, err := os.ReadFile(policyPath)
	if err != nil {
		return err
	}
	inputs, err := readInputs(inputsPath)
	if err != nil {
		return err
	}
	query, err := rego.New(rego.Query("data.peers.applies"), rego.Module("policy.rego", string(policy))).
		PrepareForEval(context.Background())
	if err != nil {
		return err
	}
	if _, err := evaluate(query, inputs[:20], 0); err != nil {
		return err
	}
	answers, err := evaluate(query, inputs, time.Duration(limit*float64(time.Second)))
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"version": version.Version, "answers": answers})
	if err != nil {
		return err
	}
	return os.WriteFile(answersPath, text, 0o644)
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: opa-peer POLICY INPUTS ANSWERS SECONDS")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "opa-peer:", err)
		os.Exit(1)
	}
}
