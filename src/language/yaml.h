/*
 * yaml.h
 *	  From text to a tree of marked nodes, by libyaml.
 *
 * An alias is the same node as its anchor: the tree is a DAG, and whoever walks
 * it meets a node once for each way that leads to it (at most
 * POLICY_MAX_EXPANDED_NODES in all).
 */
#ifndef POLICY_YAML_H
#define POLICY_YAML_H

#include "language/diagnostics.h"

#define POLICY_MAX_NESTING 32
#define POLICY_MAX_EXPANDED_NODES 4000000
#define POLICY_MAX_SOURCE_BYTES (64 * 1024 * 1024)

typedef enum PolicyNodeKind
{
	POLICY_NODE_SCALAR,
	POLICY_NODE_SEQUENCE,
	POLICY_NODE_MAPPING
} PolicyNodeKind;

/* What a scalar is where a free value is expected (JSON's rules). */
typedef enum PolicyScalarType
{
	POLICY_SCALAR_STRING,
	POLICY_SCALAR_NULL,
	POLICY_SCALAR_TRUE,
	POLICY_SCALAR_FALSE,
	POLICY_SCALAR_NUMBER
} PolicyScalarType;

typedef struct PolicyNode PolicyNode;

typedef struct PolicyPair
{
	PolicyNode *key;			/* always a scalar */
	PolicyNode *value;
} PolicyPair;

struct PolicyNode
{
	PolicyNodeKind kind;
	PolicyMark	mark;
	int			height;			/* 0 for a scalar, else 1 + the children's max */
	int64		expanded;		/* nodes below and including this one */
	int64		bytes;			/* of the scalars among them */
	union
	{
		struct
		{
			char	   *text;	/* NUL-terminated */
			int			len;
			bool		plain;	/* written without quotes */
		}			scalar;
		struct
		{
			PolicyNode **items;
			int			count;
		}			sequence;
		struct
		{
			PolicyPair *pairs;	/* keys are unique (reported, then the first
								 * kept) */
			int			count;
		}			mapping;
	}			u;
};

/*
 * Parses source (UTF-8, len bytes) into a tree in the current memory context.
 * Returns NULL where no tree can be had; at least one error is then in diags.
 * A tree may come back along with errors (duplicate keys, tags), so that the
 * checks that follow can report theirs too.
 */
extern PolicyNode *policy_yaml_parse(const char *source, int len,
									 PolicyDiagnostics *diags);

/* A plain null, true, false or JSON number is that; any other is a string. */
extern PolicyScalarType policy_scalar_type(const PolicyNode *node);

#endif							/* POLICY_YAML_H */
