/*
 * document.h
 *	  The type policy_document: a policy's text that has been checked.
 *
 * On disk: the varlena header, a format version, the source's SHA-256, the
 * source; then, aligned, a PolicyTreeHeader and the parsed tree (language/tree.h).
 * The digest is at a fixed place near the front, so that knowing it costs a slice
 * of a toasted value and not all of it; so does the tree, since the type is stored
 * without compression.  An unknown version of either, or no tree, means: take the
 * source, and parse again.
 */
#ifndef POLICY_DOCUMENT_H
#define POLICY_DOCUMENT_H

#include "fmgr.h"

#define POLICY_DIGEST_LENGTH 32
#define POLICY_DOCUMENT_FORMAT 1

typedef struct PolicyDocument
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint32		format;
	uint8		digest[POLICY_DIGEST_LENGTH];
	uint32		source_len;
	char		source[FLEXIBLE_ARRAY_MEMBER];	/* not NUL-terminated */
} PolicyDocument;

/*
 * What a stored tree begins with, in a document or apart from it.  The CRC-32C is over
 * the digest and the tree: a tree goes with one source.
 */
typedef struct PolicyTreeHeader
{
	uint32		version;
	uint32		len;
	uint32		crc;
} PolicyTreeHeader;

#define POLICY_DOCUMENT_HEADER_BYTES (offsetof(PolicyDocument, source))

#define DatumGetPolicyDocument(d) ((PolicyDocument *) PG_DETOAST_DATUM(d))
#define PG_GETARG_POLICY_DOCUMENT(n) DatumGetPolicyDocument(PG_GETARG_DATUM(n))

/* SHA-256 of a text into digest. */
extern void policy_digest(const char *data, int len, uint8 *digest);

/*
 * The digest of a possibly toasted document, by fetching its header alone.
 * Raises data_corrupted where the value is shorter than its header.
 */
extern void policy_document_digest(Datum document, uint8 *digest);

/*
 * The digest of a document's source, computed, not believed.  Raises
 * data_corrupted where the value is cut off or its header names another.
 */
extern void policy_document_verify(const PolicyDocument *document, uint8 *digest);

/*
 * The tree that a document carries, and its digest, without fetching the source;
 * NULL where it has none that this version reads.  Raises data_corrupted where the
 * tree is not what was written.
 */
extern char *policy_document_tree(Datum document, uint8 *digest, int *len);

/*
 * The same of a policy.tree, the type of a tree that is stored apart from its document.
 * NULL also where it is of another document than the one with that digest.
 */
extern char *policy_stored_tree(Datum stored, const uint8 *digest, int *len);

/* Writes a tree behind its header, which takes the room of a PolicyTreeHeader more. */
extern void policy_tree_pack(char *to, const uint8 *digest, const char *tree, int len);

/*
 * The tree in bytes that policy_tree_pack() has written, size of them; NULL where this
 * version does not read it.  Raises data_corrupted where it is not what was written.
 */
extern char *policy_tree_unpack(char *bytes, Size size, const uint8 *digest, int *len);

/* Raises data_corrupted: a stored length does not fit. */
extern void policy_document_report_damaged(void);

#endif							/* POLICY_DOCUMENT_H */
