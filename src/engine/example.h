/*
 * example.h
 *	  A job that was made: see witness.h, where it is asked for.
 */
#ifndef POLICY_EXAMPLE_H
#define POLICY_EXAMPLE_H

#include "engine/witness.h"

/* Not NUL-terminated; data is NULL where absent. */
typedef struct ExampleString
{
	const char *data;
	int			len;
} ExampleString;

typedef struct ExampleSet
{
	ExampleString *items;
	int			count;
} ExampleSet;

typedef struct ExampleLabel
{
	ExampleString name;
	ExampleString value;
} ExampleLabel;

struct PolicyExample
{
	ExampleString fields[POLICY_FIRST_SET]; /* by PolicyField */
	ExampleSet	sets[POLICY_NFIELDS - POLICY_FIRST_SET];
	ExampleLabel *labels;
	int			nlabels;
	bool		secrets_present;
};

#endif							/* POLICY_EXAMPLE_H */
