/*
 * diff.h
 *	  What differs between two policies, by meaning (docs/sql-api.md, section 2).
 *
 * A change is judged alone: by what the first policy would be with it.
 */
#ifndef POLICY_DIFF_H
#define POLICY_DIFF_H

#include "lib/stringinfo.h"

#include "engine/constraints.h"
#include "engine/lint_rules.h"

/* What a change can do to verdicts, as bits. */
typedef int DiffDirection;

#define DIFF_SAME 0
#define DIFF_LOOSENS 0x01
#define DIFF_TIGHTENS 0x02
#define DIFF_EITHER (DIFF_LOOSENS | DIFF_TIGHTENS)

typedef struct DiffRule
{
	LintRule	lint;
	struct DiffRule *other;		/* what it is in the other policy, or NULL */
	bool		renamed;		/* it has another id there */
	bool		moved;
	bool		enforces;		/* now, or at a later time */
	bool		unsure;			/* it can apply without that being certain */
	const PolicyConstraint *bounds; /* an object; empty where it denies */
} DiffRule;

typedef struct DiffSide
{
	Policy	   *policy;
	DiffRule   *rules;			/* in document order */
	CompiledPolicy *compiled;
} DiffSide;

typedef struct Diff
{
	DiffSide	from;
	DiffSide	to;
	PolicyPathList reads;		/* of the `when`s of both: some of them */
	TimestampTz now;			/* nothing before it counts */
	RuleLint	search;			/* its shapes and the work that is left, alone */
	MemoryContext context;		/* a row's, reset after each */
	void		(*put) (struct Diff *diff, const char *rule, const char *change,
						const char *detail);
	void	   *arg;			/* the caller's */
} Diff;

/* What kind of change a row tells. */
typedef enum DiffKind
{
	DIFF_RULE,					/* added, removed or changed */
	DIFF_MOVED,
	DIFF_COMBINE,
	DIFF_DEFAULTS,
	DIFF_MASKS
} DiffKind;

/* A change, alone; from or to is NULL where there is no such rule. */
typedef struct DiffChange
{
	DiffKind	kind;
	const DiffRule *from;
	const DiffRule *to;
} DiffChange;

/*
 * Reports what differs, row by row, in the current memory context.  The `when`s of
 * both policies are rewritten as jsonpath prints them.  The work is bounded: what is not
 * proven within it "may loosen and tighten".
 */
extern void policy_diff_report(Diff *diff, Policy *from, Policy *to, TimestampTz now);

/* ---- diff_parts.c ---- */

/* A text as a word, and a time as one: palloc'd. */
extern char *diff_word(const char *text);
extern char *diff_time_word(TimestampTz at);

/* Appends a part, "; " before it where it is not the first. */
extern void diff_add_part(StringInfo out, const char *fmt,...) pg_attribute_printf(2, 3);

/* A part that is one word, or has none (NULL): said where it is new, or differs. */
extern void diff_add_change(StringInfo out, const char *name, const char *from, const char *to);
extern void diff_add_text(StringInfo out, const char *name, const char *from, const char *to);
extern void diff_add_number(StringInfo out, const char *name, int64 from, int64 to);

/* ---- diff_words.c ---- */

/*
 * Appends what differs between two rules, part by part, joined by "; "; from may be
 * NULL, for what a new one has.  Nothing where they mean the same.
 */
extern void diff_append_rule(StringInfo out, Diff *diff, const DiffRule *from, const DiffRule *to);

/* The same of documents' parts. */
extern void diff_append_defaults(StringInfo out, const Policy *from, const Policy *to);
extern void diff_append_masks(StringInfo out, const PolicyPathList *from, const PolicyPathList *to);
extern void diff_append_tests(StringInfo out, const Policy *from, const Policy *to);

/* Whether a place is among others. */
extern bool diff_has_path(const PolicyPathList *list, const PolicyPath *path);

/* Whether two exceptions hold for the same jobs at the same times. */
extern bool diff_same_exception(Diff *diff, const DiffRule *a, int a_index, const DiffRule *b,
								int b_index);

/* Whether two matches hold for the same jobs. */
extern bool diff_same_match(Diff *diff, const PolicyMatch *a, const PolicyShape *a_shape,
							const PolicyMatch *b, const PolicyShape *b_shape);

extern bool diff_same_velocity(const PolicyVelocity *a, const PolicyVelocity *b);

/* The value of a pair's key in an object, or NULL. */
extern const PolicyConstraint *diff_value(const PolicyConstraint *object,
										  const PolicyConstraintPair *pair);

/* What a rule bounds; nothing where it denies. */
extern const PolicyConstraint *diff_constraints(const PolicyRule *rule);
extern const PolicyConstraint *diff_default_constraints(const Policy *policy);

/* ---- diff_direction.c ---- */

/* Sets what is told of a rule by itself: whether it enforces, is unsure, bounds. */
extern void diff_judge_rule(DiffRule *rule);

/* What a change certainly does not do is not in the result. */
extern DiffDirection diff_direction(Diff *diff, const DiffChange *change);

/* ---- diff_example.c ---- */

/* Appends the direction in words, with examples that both evaluators have decided. */
extern void diff_append_direction(StringInfo out, Diff *diff, const DiffChange *change);

#endif							/* POLICY_DIFF_H */
