/*
 * document_sql.c
 *	  The SQL type policy_document: in, out, comparison, hash, digest.
 *
 * Everything but the input works on the source alone, which is at the same
 * place whatever the value's format version.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "utils/memutils.h"

#include "compat.h"
#include "language/document.h"
#include "language/policy.h"
#include "language/tree.h"

/* The tree of a small document may be large beside it. */
#define SMALL_TREE (64 * 1024)

PG_FUNCTION_INFO_V1(policy_document_in);
PG_FUNCTION_INFO_V1(policy_document_out);
PG_FUNCTION_INFO_V1(policy_document_recv);
PG_FUNCTION_INFO_V1(policy_document_send);
PG_FUNCTION_INFO_V1(policy_document_lt);
PG_FUNCTION_INFO_V1(policy_document_le);
PG_FUNCTION_INFO_V1(policy_document_eq);
PG_FUNCTION_INFO_V1(policy_document_ne);
PG_FUNCTION_INFO_V1(policy_document_ge);
PG_FUNCTION_INFO_V1(policy_document_gt);
PG_FUNCTION_INFO_V1(policy_document_cmp);
PG_FUNCTION_INFO_V1(policy_document_hash);
PG_FUNCTION_INFO_V1(policy_document_hash_extended);
PG_FUNCTION_INFO_V1(policy_document_sha256);

void
policy_document_report_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored policy_document is damaged"),
			 errdetail("Its length does not fit its header.")));
}

/* The length of a document's source, checked against the value's own. */
static int
source_length(const PolicyDocument *document)
{
	Size		size = VARSIZE(document);

	if (size < POLICY_DOCUMENT_HEADER_BYTES ||
		document->source_len > size - POLICY_DOCUMENT_HEADER_BYTES)
		policy_document_report_damaged();
	return (int) document->source_len;
}

/* A document's bytes from offset on, at most len of them, as varlena. */
static struct varlena *
read_part(Datum document, Size offset, Size len)
{
	return PG_DETOAST_DATUM_SLICE(document, offset - VARHDRSZ, len);
}

/* From the bytes at a document's beginning. */
static void
read_header(struct varlena *beginning, PolicyDocument *header)
{
	if (VARSIZE_ANY_EXHDR(beginning) < POLICY_DOCUMENT_HEADER_BYTES - VARHDRSZ)
		policy_document_report_damaged();
	memcpy((char *) header + VARHDRSZ, VARDATA_ANY(beginning),
		   POLICY_DOCUMENT_HEADER_BYTES - VARHDRSZ);
}

void
policy_document_digest(Datum document, uint8 *digest)
{
	PolicyDocument header = {0};
	PolicyDocument *whole;

	read_header(read_part(document, VARHDRSZ, POLICY_DOCUMENT_HEADER_BYTES), &header);
	if (header.format == POLICY_DOCUMENT_FORMAT)
	{
		memcpy(digest, header.digest, POLICY_DIGEST_LENGTH);
		return;
	}

	whole = DatumGetPolicyDocument(document);
	policy_digest(whole->source, source_length(whole), digest);
	if ((Pointer) whole != DatumGetPointer(document))
		pfree(whole);
}

/* Reading the text along costs less than going to its chunks twice. */
#define READ_AT_ONCE ((Size) 16 * 1024)

char *
policy_document_tree(Datum document, uint8 *digest, int *len)
{
	PolicyDocument header = {0};
	Size		size = toast_raw_datum_size(document);
	Size		offset;
	Size		skipped = 0;
	char	   *tree;
	struct varlena *part = read_part(document, VARHDRSZ,
									 size <= READ_AT_ONCE ? size : POLICY_DOCUMENT_HEADER_BYTES);

	read_header(part, &header);
	offset = MAXALIGN(POLICY_DOCUMENT_HEADER_BYTES + (Size) header.source_len);
	if (header.format != POLICY_DOCUMENT_FORMAT || size < offset + sizeof(PolicyTreeHeader))
		return NULL;
	if (size <= READ_AT_ONCE)
		skipped = offset - VARHDRSZ;
	else
		part = read_part(document, offset, size - offset);
	if (VARSIZE_ANY_EXHDR(part) < skipped)
		policy_document_report_damaged();
	tree = policy_tree_unpack(VARDATA_ANY(part) + skipped, VARSIZE_ANY_EXHDR(part) - skipped,
							  header.digest, len);
	if (tree != NULL)
		memcpy(digest, header.digest, POLICY_DIGEST_LENGTH);
	return tree;
}

void
policy_document_verify(const PolicyDocument *document, uint8 *digest)
{
	policy_digest(document->source, source_length(document), digest);
	if (document->format == POLICY_DOCUMENT_FORMAT &&
		memcmp(digest, document->digest, POLICY_DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored policy_document is damaged"),
				 errdetail("Its text does not have the SHA-256 that its header names.")));
}

/* Checks a source, and writes its tree, which stays empty where it would be too large. */
static void
check_source(const char *source, int len, StringInfo tree)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "policy document check",
												  ALLOCSET_DEFAULT_SIZES);
	PolicyDiagnostics diags;
	Policy	   *policy;

	MemoryContextSwitchTo(context);
	policy_diagnostics_init(&diags);
	policy = policy_parse(source, len, &diags);
	if (policy == NULL || diags.nerrors > 0)
		policy_diagnostics_raise(&diags);
	policy_tree_write(policy, len * 3 + SMALL_TREE, tree);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

static PolicyDocument *
make_document(const char *source, int len)
{
	PolicyDocument *document;
	Size		tree_offset = MAXALIGN(POLICY_DOCUMENT_HEADER_BYTES + len);
	Size		size;
	StringInfoData tree;

	initStringInfo(&tree);
	check_source(source, len, &tree);
	size = tree.len == 0 ? POLICY_DOCUMENT_HEADER_BYTES + len :
		tree_offset + sizeof(PolicyTreeHeader) + tree.len;
	document = palloc0(size);
	SET_VARSIZE(document, size);
	document->format = POLICY_DOCUMENT_FORMAT;
	policy_digest(source, len, document->digest);
	document->source_len = (uint32) len;
	memcpy(document->source, source, len);
	if (tree.len > 0)
		policy_tree_pack((char *) document + tree_offset, document->digest, tree.data, tree.len);
	pfree(tree.data);
	return document;
}

Datum
policy_document_in(PG_FUNCTION_ARGS)
{
	char	   *source = PG_GETARG_CSTRING(0);

	PG_RETURN_POINTER(make_document(source, (int) strlen(source)));
}

Datum
policy_document_out(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	int			len = source_length(document);

	PG_RETURN_CSTRING(pnstrdup(document->source, len));
}

/* The binary form is the source, as the text form is. */
Datum
policy_document_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			len;
	char	   *source = pq_getmsgtext(message, message->len - message->cursor,
									   &len);

	PG_RETURN_POINTER(make_document(source, len));
}

Datum
policy_document_send(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, document->source, source_length(document));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

static int
compare_arguments(FunctionCallInfo fcinfo)
{
	PolicyDocument *a = PG_GETARG_POLICY_DOCUMENT(0);
	PolicyDocument *b = PG_GETARG_POLICY_DOCUMENT(1);
	int			alen = source_length(a);
	int			blen = source_length(b);
	int			result = memcmp(a->source, b->source, Min(alen, blen));

	if (result == 0 && alen != blen)
		result = alen < blen ? -1 : 1;
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
policy_document_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
policy_document_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
policy_document_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
policy_document_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
policy_document_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
policy_document_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
policy_document_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

Datum
policy_document_hash(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	uint32		hash = hash_bytes((unsigned char *) document->source,
								  source_length(document));

	PG_FREE_IF_COPY(document, 0);
	PG_RETURN_INT32((int32) hash);
}

Datum
policy_document_hash_extended(PG_FUNCTION_ARGS)
{
	PolicyDocument *document = PG_GETARG_POLICY_DOCUMENT(0);
	uint64		hash = hash_bytes_extended((unsigned char *) document->source,
										   source_length(document),
										   (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(document, 0);
	PG_RETURN_INT64((int64) hash);
}

/* policy.document_sha256(policy_document): the digest of the source. */
Datum
policy_document_sha256(PG_FUNCTION_ARGS)
{
	bytea	   *result = palloc(VARHDRSZ + POLICY_DIGEST_LENGTH);

	SET_VARSIZE(result, VARHDRSZ + POLICY_DIGEST_LENGTH);
	policy_document_digest(PG_GETARG_DATUM(0), (uint8 *) VARDATA(result));
	PG_RETURN_BYTEA_P(result);
}
