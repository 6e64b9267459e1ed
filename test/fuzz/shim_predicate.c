/*
 * shim_predicate.c
 *	  Stands in for PostgreSQL's jsonpath: any text is a predicate, and its answer
 *	  follows from the bytes of the text and of the job.
 */
#include "shim.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"

#include "engine/predicate.h"
#include "language/jsonpath.h"

struct PolicyPredicate
{
	uint32		hash;
};

static uint32
hash_text(const char *text)
{
	return hash_bytes((const unsigned char *) text, strlen(text));
}

char *
policy_predicate_parse(const char *text, int len, PolicyMark mark,
					   bool *lax, PolicyPathList *reads, PolicyPathList *nulls,
					   PolicyDiagnostics *diags)
{
	*lax = len > 0 && text[0] == 'l';
	if (len > 0)
		return pnstrdup(text, len);
	policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "bad_jsonpath", NULL,
					"bad jsonpath");
	return NULL;
}

bool
policy_path_parse(const char *text, int len, PolicyMark mark,
				  PolicyPath *path, PolicyDiagnostics *diags)
{
	memset(path, 0, sizeof(PolicyPath));
	path->mark = mark;
	path->source = pnstrdup(text, len);
	if (len > 0 && text[0] == '$')
		return true;
	policy_diagnose(diags, mark, POLICY_SEVERITY_ERROR, "bad_path", NULL, "bad path");
	return false;
}

bool
policy_paths_overlap(const PolicyPath *a, const PolicyPath *b)
{
	return strcmp(a->source, b->source) == 0;
}

PolicyPredicate *
policy_predicate_compile(const char *text)
{
	PolicyPredicate *predicate = palloc(sizeof(PolicyPredicate));

	predicate->hash = hash_text(text);
	return predicate;
}

PolicyTruth
policy_predicate_test(PolicyPredicate *predicate, Jsonb *job)
{
	uint32		hash = hash_bytes((const unsigned char *) job, VARSIZE(job));

	return (PolicyTruth) ((hash ^ predicate->hash) % 3);
}
