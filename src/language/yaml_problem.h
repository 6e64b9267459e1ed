/*
 * yaml_problem.h
 *	  libyaml's own errors, as diagnostics.
 */
#ifndef POLICY_YAML_PROBLEM_H
#define POLICY_YAML_PROBLEM_H

#include <yaml.h>

#include "language/yaml_source.h"

/*
 * Adds an error for why parser has stopped; raises where it ran out of memory.
 */
extern void policy_yaml_problem(const yaml_parser_t *parser,
								const PolicySource *source,
								PolicyDiagnostics *diags);

#endif							/* POLICY_YAML_PROBLEM_H */
