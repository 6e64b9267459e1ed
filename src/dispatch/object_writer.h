/*
 * object_writer.h
 *	  A jsonb object written byte by byte, as PostgreSQL writes it (utils/jsonb.h).
 *
 * For who knows the order of its keys: by length, then by bytes, each once.  jsonb values
 * are copied as they are; pushing them through a JsonbParseState would take them apart
 * and sort them again, for the same bytes.
 */
#ifndef POLICY_OBJECT_WRITER_H
#define POLICY_OBJECT_WRITER_H

#include "utils/jsonb.h"

/* A key and its value. */
typedef struct ObjectPart
{
	const char *name;
	int			namelen;
	JEntry		type;
	const char *data;
	Size		size;
	bool		aligned;		/* starts on four bytes, the padding before it
								 * its own */
} ObjectPart;

/* Of so many only the first entry has an offset. */
#define OBJECT_MAX_PARTS (JB_OFFSET_STRIDE / 2)

/* Set a part's value; what they are given must stay until the object is written. */
extern void object_part_null(ObjectPart *part);
extern void object_part_bool(ObjectPart *part, bool value);
extern void object_part_text(ObjectPart *part, text *value);
extern void object_part_jsonb(ObjectPart *part, Datum value);

/* The object of at most OBJECT_MAX_PARTS parts; NULL where it is larger than jsonb can be. */
extern Jsonb *object_write(const ObjectPart *parts, int count);

#endif							/* POLICY_OBJECT_WRITER_H */
