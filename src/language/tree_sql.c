/*
 * tree_sql.c
 *	  Stored trees, and the SQL type policy.tree.
 *
 * A policy.tree is a document's tree apart from the document, small enough to stay in
 * the row of policy.snapshots: to open a TOAST table and its index takes a new session
 * as long as to read and compile a hundred rules.  It holds the document's digest, and
 * stands for no other.
 *
 * No text and no message makes one, or a dump could bring in a tree that is not its
 * document's: what goes out and comes in is empty.
 */
#include "postgres.h"

#include "access/toast_compression.h"
#include "access/toast_internals.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "port/pg_crc32c.h"

#include "compat.h"
#include "language/document.h"
#include "language/tree.h"

/* What a page has room for beside the rest of a row of policy.snapshots. */
#define MAX_IN_ROW 7000

/* No larger tree gets below that, and need not be tried. */
#define MAX_TREE (64 * 1024)

typedef struct StoredTree
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		digest[POLICY_DIGEST_LENGTH];
	char		tree[FLEXIBLE_ARRAY_MEMBER];	/* behind its header */
} StoredTree;

PG_FUNCTION_INFO_V1(policy_tree_in);
PG_FUNCTION_INFO_V1(policy_tree_out);
PG_FUNCTION_INFO_V1(policy_tree_recv);
PG_FUNCTION_INFO_V1(policy_tree_send);
PG_FUNCTION_INFO_V1(policy_tree_of_document);

static uint32
tree_crc(const uint8 *digest, const char *tree, int len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, digest, POLICY_DIGEST_LENGTH);
	COMP_CRC32C(crc, tree, len);
	FIN_CRC32C(crc);
	return crc;
}

void
policy_tree_pack(char *to, const uint8 *digest, const char *tree, int len)
{
	PolicyTreeHeader header;

	header.version = POLICY_TREE_VERSION;
	header.len = (uint32) len;
	header.crc = tree_crc(digest, tree, len);
	memcpy(to, &header, sizeof(header));
	memcpy(to + sizeof(header), tree, len);
}

char *
policy_tree_unpack(char *bytes, Size size, const uint8 *digest, int *len)
{
	PolicyTreeHeader header;
	char	   *tree = bytes + sizeof(header);

	if (size < sizeof(header))
		policy_document_report_damaged();
	memcpy(&header, bytes, sizeof(header));
	if (header.version != POLICY_TREE_VERSION)
		return NULL;
	if (header.len != size - sizeof(header) || header.crc != tree_crc(digest, tree, header.len))
		policy_document_report_damaged();
	*len = (int) header.len;
	return tree;
}

char *
policy_stored_tree(Datum stored, const uint8 *digest, int *len)
{
	StoredTree *tree = (StoredTree *) PG_DETOAST_DATUM(stored);
	Size		size = VARSIZE(tree);

	if (size <= offsetof(StoredTree, tree) ||
		memcmp(tree->digest, digest, POLICY_DIGEST_LENGTH) != 0)
		return NULL;
	return policy_tree_unpack(tree->tree, size - offsetof(StoredTree, tree), digest, len);
}

static Datum
make_empty(void)
{
	struct varlena *empty = palloc(VARHDRSZ);

	SET_VARSIZE(empty, VARHDRSZ);
	return PointerGetDatum(empty);
}

static void
refuse_content(int sqlstate)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("a policy.tree comes from its document alone"),
			 errhint("Leave the column out: policy.snapshots has it from the document.")));
}

Datum
policy_tree_in(PG_FUNCTION_ARGS)
{
	if (PG_GETARG_CSTRING(0)[0] != '\0')
		refuse_content(ERRCODE_INVALID_TEXT_REPRESENTATION);
	return make_empty();
}

Datum
policy_tree_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup(""));
}

Datum
policy_tree_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);

	if (message->cursor < message->len)
		refuse_content(ERRCODE_INVALID_BINARY_REPRESENTATION);
	return make_empty();
}

Datum
policy_tree_send(PG_FUNCTION_ARGS)
{
	return make_empty();
}

/* policy.document_tree(policy_document): compressed here, to know what room it takes. */
Datum
policy_tree_of_document(PG_FUNCTION_ARGS)
{
	uint8		digest[POLICY_DIGEST_LENGTH];
	int			len;
	char	   *tree = policy_document_tree(PG_GETARG_DATUM(0), digest, &len);
	StoredTree *stored;
	Size		size;
	Datum		compressed;

	if (tree == NULL || len > MAX_TREE)
		PG_RETURN_NULL();
	size = offsetof(StoredTree, tree) + sizeof(PolicyTreeHeader) + len;
	stored = palloc(size);
	SET_VARSIZE(stored, size);
	memcpy(stored->digest, digest, POLICY_DIGEST_LENGTH);
	policy_tree_pack(stored->tree, digest, tree, len);
	compressed = toast_compress_datum(PointerGetDatum(stored), TOAST_PGLZ_COMPRESSION);
	if (DatumGetPointer(compressed) == NULL)
		compressed = PointerGetDatum(stored);
	if (VARSIZE(DatumGetPointer(compressed)) > MAX_IN_ROW)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(compressed);
}
