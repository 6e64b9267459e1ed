/*
 * dispatch_sql.c
 *	  Small functions that the queries of the queue and of the evidence use.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/typcache.h"
#include "utils/xid8.h"

#include "dispatch/dispatch.h"
#include "dispatch/halts.h"
#include "dispatch/owner_query.h"
#include "dispatch/settle.h"
#include "dispatch/transitions.h"
#include "dispatch/velocity.h"
#include "dispatch/verb.h"
#include "engine/glob.h"
#include "engine/verdict_sql.h"
#include "language/document.h"
#include "language/normalize.h"

PG_FUNCTION_INFO_V1(policy_next_xid);
PG_FUNCTION_INFO_V1(policy_normalized);
PG_FUNCTION_INFO_V1(policy_topic_matches);
PG_FUNCTION_INFO_V1(policy_merkle_root);
PG_FUNCTION_INFO_V1(policy_approval_outlook);

/* policy.next_xid() */
Datum
policy_next_xid(PG_FUNCTION_ARGS)
{
	PG_RETURN_FULLTRANSACTIONID(ReadNextFullTransactionId());
}

void
policy_dispatch_init(void)
{
	policy_verb_init();
	policy_velocity_init();
	policy_halts_init();
}

/* policy.normalized(value text) */
Datum
policy_normalized(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	const char *normal;
	int			len;

	/*
	 * What cannot be normalised is left as it is: no job that has it is
	 * valid.
	 */
	if (!policy_normalize(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), POLICY_TRIM,
						  &normal, &len))
		PG_RETURN_TEXT_P(value);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(normal, len));
}

/* A call site's patterns: what they were compiled from, and they themselves. */
typedef struct TopicPatterns
{
	ArrayType  *source;
	Glob	   *globs;
	int			count;
} TopicPatterns;

static void
compile_topic(Datum pattern, bool isnull, Glob *glob)
{
	PolicyMark	mark = {1, 1};
	PolicyDiagnostics diags;
	PolicyPattern *parsed = NULL;
	text	   *source = isnull ? NULL : DatumGetTextPP(pattern);

	policy_diagnostics_init(&diags);
	if (source != NULL)
		parsed = policy_pattern_parse(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source), mark, &diags);
	if (parsed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("bad pattern of a topic"),
				 errdetail("%s.", diags.count > 0 ? diags.items[0].message : "It is NULL"),
				 diags.count > 0 && diags.items[0].hint != NULL ?
				 errhint("%s", diags.items[0].hint) :
				 errhint("Patterns are those of a policy: job.pay.*")));
	glob_compile(parsed, NULL, glob);
}

void
policy_check_topics(ArrayType *topics)
{
	Datum	   *items;
	bool	   *nulls;
	int			count;
	Glob		glob;

	deconstruct_array(topics, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &count);
	for (int i = 0; i < count; i++)
		compile_topic(items[i], nulls[i], &glob);
}

static TopicPatterns *
compile_topics(FunctionCallInfo fcinfo, ArrayType *source)
{
	MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	TopicPatterns *patterns = palloc(sizeof(TopicPatterns));
	Datum	   *items;
	bool	   *nulls;

	patterns->source = (ArrayType *) PG_DETOAST_DATUM_COPY(PointerGetDatum(source));
	deconstruct_array(patterns->source, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls,
					  &patterns->count);
	patterns->globs = palloc0(sizeof(Glob) * Max(patterns->count, 1));
	for (int i = 0; i < patterns->count; i++)
		compile_topic(items[i], nulls[i], &patterns->globs[i]);
	MemoryContextSwitchTo(caller);
	return patterns;
}

/* policy.topic_matches(topic text, patterns text[]) */
Datum
policy_topic_matches(PG_FUNCTION_ARGS)
{
	TopicPatterns *patterns = fcinfo->flinfo->fn_extra;
	ArrayType  *source;
	text	   *topic;
	const char *normal;
	int			len;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	source = PG_GETARG_ARRAYTYPE_P(1);
	if (patterns == NULL || VARSIZE(patterns->source) != VARSIZE(source) ||
		memcmp(patterns->source, source, VARSIZE(source)) != 0)
		fcinfo->flinfo->fn_extra = patterns = compile_topics(fcinfo, source);
	topic = PG_GETARG_TEXT_PP(0);
	if (!policy_normalize(VARDATA_ANY(topic), VARSIZE_ANY_EXHDR(topic), POLICY_TRIM, &normal, &len))
		PG_RETURN_BOOL(false);
	for (int i = 0; i < patterns->count; i++)
	{
		if (glob_match(&patterns->globs[i], normal, len))
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

/* The largest power of two below n, for n > 1. */
static int
split_point(int n)
{
	int			split = 1;

	while (split * 2 < n)
		split *= 2;
	return split;
}

/* Of an inner node: a byte 1, then both children (RFC 6962, section 2.1). */
static void
node_hash(const uint8 *left, const uint8 *right, uint8 *hash)
{
	char		data[1 + 2 * POLICY_DIGEST_LENGTH];

	data[0] = 1;
	memcpy(data + 1, left, POLICY_DIGEST_LENGTH);
	memcpy(data + 1 + POLICY_DIGEST_LENGTH, right, POLICY_DIGEST_LENGTH);
	policy_digest(data, sizeof(data), hash);
}

static void
tree_hash(const uint8 *leaves, int count, uint8 *hash)
{
	uint8		left[POLICY_DIGEST_LENGTH];
	uint8		right[POLICY_DIGEST_LENGTH];
	int			split;

	if (count == 1)
	{
		memcpy(hash, leaves, POLICY_DIGEST_LENGTH);
		return;
	}
	split = split_point(count);
	tree_hash(leaves, split, left);
	tree_hash(leaves + (Size) split * POLICY_DIGEST_LENGTH, count - split, right);
	node_hash(left, right, hash);
}

/* policy.merkle_root(leaves bytea) */
Datum
policy_merkle_root(PG_FUNCTION_ARGS)
{
	bytea	   *leaves = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(leaves);
	bytea	   *root = palloc(VARHDRSZ + POLICY_DIGEST_LENGTH);

	if (len % POLICY_DIGEST_LENGTH != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("leaves have %d bytes, which is no multiple of %d", len,
						POLICY_DIGEST_LENGTH)));
	SET_VARSIZE(root, VARHDRSZ + POLICY_DIGEST_LENGTH);
	if (len == 0)
		policy_digest("", 0, (uint8 *) VARDATA(root));
	else
		tree_hash((const uint8 *) VARDATA_ANY(leaves), len / POLICY_DIGEST_LENGTH,
				  (uint8 *) VARDATA(root));
	PG_RETURN_BYTEA_P(root);
}

/* What becomes of an open approval where its job is decided as it is now. */
static const char *
outlook_of(const JobApproval *approval, const Candidate *candidate)
{
	if (approval->expires_at <= candidate->now.at)
		return "expired";
	if (candidate->now.policy == NULL)
		return policy_approval_statuses[approval->status];
	return policy_approval_falls(approval, &candidate->now) ? "superseded" :
		policy_approval_statuses[approval->status];
}

static void
set_outlook(const JobApproval *approval, const PolicyJobKey *key, int64 job_id, Datum *values, bool *nulls,
			TupleDesc tupdesc, MemoryContext caller)
{
	Candidate	candidate;
	Oid			decisions[POLICY_NDECISIONS];
	MemoryContext mine;

	if (!(job_id != 0 ? policy_candidate_peek(job_id, &candidate) :
		  policy_attached_peek(key, &candidate)))
		return;
	policy_decision_oids(TupleDescAttr(tupdesc, 1)->atttypid, decisions);
	mine = MemoryContextSwitchTo(caller);
	values[0] = CStringGetTextDatum(outlook_of(approval, &candidate));
	values[1] = ObjectIdGetDatum(decisions[candidate.now.verdict.decision]);
	values[2] = PointerGetDatum(PG_DETOAST_DATUM_COPY(PointerGetDatum(candidate.now.verdict.reason)));
	memset(nulls, false, sizeof(bool) * 3);
	MemoryContextSwitchTo(mine);
}

/* policy.approval_outlook(approval policy.approvals) */
Datum
policy_approval_outlook(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	MemoryContext caller = CurrentMemoryContext;
	TupleDesc	rowdesc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
													  HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	TupleDesc	tupdesc;
	Datum		values[3] = {0};
	bool		nulls[3] = {true, true, true};
	JobApproval approval;
	OwnerScope	scope;
	PolicyJobKey key;
	int64		job_id;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	policy_approval_from_tuple(&tuple, rowdesc, &approval);
	if ((approval.status == POLICY_APPROVAL_PENDING ||
		 approval.status == POLICY_APPROVAL_APPROVED))
	{
		job_id = policy_approval_job(&tuple, rowdesc, &key);
		policy_owner_begin(&scope, POLICY_VERB_PEEK);
		set_outlook(&approval, &key, job_id, values, nulls, tupdesc, caller);
		policy_owner_end(&scope);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tupdesc), values, nulls)));
}
