/*
 * yaml_source.h
 *	  The text that libyaml is given, and places in it.
 *
 * It is the document less a byte order mark, and, in a JSON document, with what
 * libyaml reads otherwise than JSON rewritten.  A place in it is turned into one of
 * the document by policy_source_mark().
 */
#ifndef POLICY_YAML_SOURCE_H
#define POLICY_YAML_SOURCE_H

#include "language/diagnostics.h"

/* Where a rewritten escape ends; both count from 0, as libyaml does. */
typedef struct PolicyRewrite
{
	int			line;
	int			column;
	int			shift;			/* by how much the document's column is
								 * greater */
} PolicyRewrite;

typedef struct PolicySource
{
	const char *text;
	int			len;
	PolicyRewrite *rewrites;	/* in order */
	int			nrewrites;
} PolicySource;

/* A place in a text, by libyaml's idea of lines; everything counts from 0. */
typedef struct PolicyCursor
{
	const char *text;
	int			len;
	int			offset;			/* in bytes */
	size_t		index;			/* in characters */
	int			line;
	int			column;
} PolicyCursor;

extern void policy_source_init(PolicySource *source, const char *text, int len);

/* The document's line and column, from 1, of a place in source->text. */
extern PolicyMark policy_source_mark(const PolicySource *source,
									 size_t line, size_t column);

extern void policy_cursor_init(PolicyCursor *cursor, const char *text, int len);

/* Passes one character; a line break of CR and LF is two, as libyaml counts. */
extern void policy_cursor_step(PolicyCursor *cursor);

/* Goes to an index, which may lie behind; stops at the end. */
extern void policy_cursor_seek(PolicyCursor *cursor, size_t index);

static inline bool
policy_cursor_at_end(const PolicyCursor *cursor)
{
	return cursor->offset >= cursor->len;
}

/* The byte at the cursor; NUL at the end. */
static inline char
policy_cursor_peek(const PolicyCursor *cursor)
{
	return policy_cursor_at_end(cursor) ? '\0' : cursor->text[cursor->offset];
}

#endif							/* POLICY_YAML_SOURCE_H */
