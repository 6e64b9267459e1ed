/*
 * policy.h
 *	  A policy as its author wrote it: checked, typed, every part marked.
 *
 * Built by policy_parse() in the current memory context, with everything that
 * it points to; read-only from then on.  The engine copies what it keeps.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include "datatype/timestamp.h"
#include "language/diagnostics.h"
#include "language/jsonpath.h"
#include "language/pattern.h"
#include "language/yaml.h"

/* From loosest to strictest, as the SQL enum policy_decision. */
typedef enum PolicyDecision
{
	POLICY_ALLOW,
	POLICY_ALLOW_WITH_CONSTRAINTS,
	POLICY_THROTTLE,
	POLICY_REQUIRE_APPROVAL,
	POLICY_DENY
} PolicyDecision;

#define POLICY_NDECISIONS (POLICY_DENY + 1)

/* The SQL enum's labels ("ALLOW"), by PolicyDecision. */
extern const char *const policy_decision_labels[POLICY_NDECISIONS];

/* The fields of a job that match lists look at; the sets come last. */
typedef enum PolicyField
{
	POLICY_FIELD_TENANT,
	POLICY_FIELD_TOPIC,
	POLICY_FIELD_CAPABILITY,
	POLICY_FIELD_PACK_ID,
	POLICY_FIELD_ACTOR_ID,
	POLICY_FIELD_ACTOR_TYPE,
	POLICY_FIELD_MCP_SERVER,
	POLICY_FIELD_MCP_TOOL,
	POLICY_FIELD_MCP_RESOURCE,
	POLICY_FIELD_MCP_ACTION,
	POLICY_FIELD_ACTOR_ROLES,
	POLICY_FIELD_RISK_TAGS,
	POLICY_FIELD_REQUIRES
} PolicyField;

#define POLICY_NFIELDS (POLICY_FIELD_REQUIRES + 1)
#define POLICY_FIRST_SET POLICY_FIELD_ACTOR_ROLES

/* The match keys ("topics", "mcp.servers"), by PolicyField. */
extern const char *const policy_match_keys[POLICY_NFIELDS];

typedef struct PolicyPatternList
{
	PolicyPattern **items;
	int			count;
} PolicyPatternList;

/* any, all and none, all of which must hold; all three empty: no condition. */
typedef struct PolicyCondition
{
	PolicyPatternList any;
	PolicyPatternList all;
	PolicyPatternList none;
} PolicyCondition;

typedef struct PolicyLabelCondition
{
	const char *name;			/* normalised, not NUL-terminated */
	int			namelen;
	const char *source;			/* the name as written */
	int			sourcelen;
	PolicyMark	mark;
	PolicyCondition condition;	/* all empty: the label must be present */
} PolicyLabelCondition;

typedef struct PolicyMatch
{
	PolicyCondition fields[POLICY_NFIELDS];
	PolicyLabelCondition *labels;
	int			nlabels;
	bool		has_secrets_present;
	bool		secrets_present;
	char	   *when;			/* jsonpath with its mode, NUL-terminated, or
								 * NULL */
	PolicyMark	when_mark;
	bool		lax;			/* the `when` is in lax mode */
	PolicyPathList null_places; /* that the `when` compares with null */
} PolicyMatch;

typedef struct PolicyException
{
	const char *id;
	PolicyMark	mark;
	PolicyMatch match;
	TimestampTz expires_at;
	const char *reason;
	const char *ticket;			/* or NULL */
} PolicyException;

/* What a velocity key is made of. */
typedef enum PolicyKeyPartKind
{
	POLICY_KEYPART_TENANT,
	POLICY_KEYPART_TOPIC,
	POLICY_KEYPART_CAPABILITY,
	POLICY_KEYPART_PACK_ID,
	POLICY_KEYPART_ACTOR_ID,
	POLICY_KEYPART_ACTOR_TYPE,
	POLICY_KEYPART_LABEL
} PolicyKeyPartKind;

typedef struct PolicyKeyPart
{
	PolicyKeyPartKind kind;
	const char *label;			/* LABEL: normalised name */
	int			labellen;
} PolicyKeyPart;

typedef struct PolicyVelocity
{
	int64		max_requests;	/* >= 1 */
	int			window_seconds; /* 1 to 86400 */
	PolicyKeyPart *parts;
	int			nparts;
} PolicyVelocity;

typedef struct PolicyApproval
{
	const char **approvers;		/* role names */
	PolicyMark *approver_marks;
	int			napprovers;
	int			min_approvals;	/* 1 to 100, default 1 */
	int			expires_in_sec; /* 1 to 31536000, default 86400 */
	bool		allow_self;
	PolicyPathList immaterial;
} PolicyApproval;

/* What a `require_approval` asks that says nothing of it. */
extern const PolicyApproval policy_default_approval;

typedef struct PolicyRemediation
{
	const char *id;
	const char *title;			/* this and all below: NULL where absent */
	const char *summary;
	const char *replacement_topic;
	const char *replacement_capability;
	PolicyNode *add_labels;		/* mapping of scalars */
	PolicyNode *remove_labels;	/* sequence of scalars */
	PolicyMark	mark;
} PolicyRemediation;

typedef struct PolicyRule
{
	const char *id;
	PolicyMark	mark;			/* of the id */
	const char *description;	/* or NULL */
	const char *owner;			/* or NULL */
	bool		enabled;
	bool		monitor;
	TimestampTz not_before;		/* DT_NOBEGIN where absent */
	TimestampTz expires_at;		/* DT_NOEND where absent */
	PolicyMatch match;
	PolicyDecision decision;	/* allow with constraints is
								 * ALLOW_WITH_CONSTRAINTS already */
	const char *reason;			/* NULL where absent or empty */
	PolicyNode *constraints;	/* a mapping, or NULL */
	PolicyVelocity *velocity;	/* or NULL */
	int			retry_after_sec;	/* 1 to 86400, default 5 */
	PolicyMark	retry_after_mark;	/* line 0: not written */
	PolicyApproval *approval;	/* never NULL on a require_approval rule (the
								 * defaults stand in), NULL on any other */
	PolicyException *exceptions;
	int			nexceptions;
	PolicyRemediation *remediations;
	int			nremediations;
} PolicyRule;

typedef struct PolicyTest
{
	const char *name;
	PolicyMark	mark;
	PolicyNode *job;			/* a free value */
	bool		has_at;
	TimestampTz at;
	PolicyNode *expect;			/* a mapping with checked keys */
} PolicyTest;

typedef struct Policy
{
	bool		first_match;
	PolicyDecision default_decision;	/* never THROTTLE */
	const char *default_reason;
	PolicyNode *default_constraints;	/* a mapping; NULL: the built-in ones */
	PolicyRule *rules;
	int			nrules;
	PolicyTest *tests;
	int			ntests;
	PolicyPathList masks;
} Policy;

/* The built-in default constraints: {"max_runtime_sec": 60, "max_retries": 1}. */
#define POLICY_DEFAULT_MAX_RUNTIME_SEC 60
#define POLICY_DEFAULT_MAX_RETRIES 1
#define POLICY_DEFAULT_REASON "no rule matched"
#define POLICY_DEFAULT_RETRY_AFTER_SEC 5

/*
 * Parses and checks a document.  Returns NULL where it has errors, all of which
 * are then in diags, sorted.  Warnings are not looked for here.
 */
extern Policy *policy_parse(const char *source, int len,
							PolicyDiagnostics *diags);

/*
 * RFC 3339, zone required; fractions past the microsecond are cut.  Returns
 * false for anything else.
 */
extern bool policy_parse_timestamp(const char *text, int len, TimestampTz *result);

#endif							/* POLICY_POLICY_H */
