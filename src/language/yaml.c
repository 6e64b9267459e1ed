/*
 * yaml.c
 *	  From text to a tree of marked nodes, by libyaml.
 *
 * libyaml reads from memory and calls nothing back, so that no PostgreSQL error
 * can pass through it; what it has allocated is freed by PG_FINALLY.  All that
 * it does costs time linear in the text, but for two things: its depth, bounded
 * here at every event, and its list of %TAG directives, refused before.
 *
 * An error ends the reading where what follows cannot be trusted (syntax,
 * limits); else reading goes on for more errors.  A tree that lacks a node, an
 * alias with no target, is not returned: what is missing would be reported.
 */
#include "postgres.h"

#include <yaml.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "language/name_table.h"
#include "language/yaml.h"
#include "language/yaml_problem.h"
#include "language/yaml_source.h"

/* Fewer keys are compared each with each. */
#define SMALL_MAPPING 8

/* Nodes are allocated by the block: there can be millions. */
#define NODES_A_BLOCK 64

/* The height of a node whose end has not been seen. */
#define HEIGHT_OPEN (-1)

static const PolicyMark document_start = {1, 1};

/* A collection that is being read. */
typedef struct Frame
{
	PolicyNode *node;
	int			height;			/* of the highest child + 1 */
	int			capacity;		/* of items or pairs */
	bool		value_due;		/* MAPPING: a key has been read */
	PolicyNode *key;			/* that key; NULL for a bad one */
} Frame;

typedef struct Builder
{
	PolicyDiagnostics *diags;
	PolicySource source;
	PolicyCursor cursor;		/* at the last place that was looked up */
	yaml_parser_t parser;
	yaml_event_t event;
	uint64		seed;
	PolicyNameTable anchors;	/* of PolicyNode */
	Frame		frames[POLICY_MAX_NESTING];
	int			depth;
	int64		nodes;			/* so far, expanded */
	int64		bytes;			/* of scalars, likewise */
	PolicyNode *spare;			/* allocated, not yet used */
	int			spare_count;
	PolicyNode *root;
	bool		has_bang;		/* a tag may be there */
	bool		stopped;		/* no use in reading on */
	bool		unusable;		/* no tree comes of this */
} Builder;

static PolicyMark
node_mark(const Builder *builder, const yaml_mark_t *mark)
{
	return policy_source_mark(&builder->source, mark->line, mark->column);
}

static void
stop(Builder *builder)
{
	builder->stopped = true;
	builder->unusable = true;
}

/* Counts what is added to the tree; stops at the limit. */
static void
count_nodes(Builder *builder, int64 nodes)
{
	builder->nodes += nodes;
	if (builder->nodes <= POLICY_MAX_EXPANDED_NODES)
		return;
	policy_diagnose(builder->diags,
					node_mark(builder, &builder->event.start_mark),
					POLICY_SEVERITY_ERROR, "too_large",
					"Use fewer aliases of large values, or a smaller document.",
					"document expands to more than %d nodes",
					POLICY_MAX_EXPANDED_NODES);
	stop(builder);
}

/* Counts the bytes of scalars: one long text under many aliases is long, too. */
static void
count_bytes(Builder *builder, int64 bytes)
{
	builder->bytes += bytes;
	if (builder->bytes <= POLICY_MAX_SOURCE_BYTES)
		return;
	policy_diagnose(builder->diags,
					node_mark(builder, &builder->event.start_mark),
					POLICY_SEVERITY_ERROR, "too_large",
					"Use fewer aliases of long values, or a smaller document.",
					"document expands to more than %d bytes",
					POLICY_MAX_SOURCE_BYTES);
	stop(builder);
}

static void
too_deep(Builder *builder)
{
	policy_diagnose(builder->diags,
					node_mark(builder, &builder->event.start_mark),
					POLICY_SEVERITY_ERROR, "too_deep",
					"Flatten the value here.",
					"nesting is deeper than %d levels", POLICY_MAX_NESTING);
	stop(builder);
}

static PolicyNode *
make_node(Builder *builder, PolicyNodeKind kind)
{
	PolicyNode *node;

	if (builder->spare_count == 0)
	{
		builder->spare = palloc0(NODES_A_BLOCK * sizeof(PolicyNode));
		builder->spare_count = NODES_A_BLOCK;
	}
	node = builder->spare++;
	builder->spare_count--;
	node->kind = kind;
	node->mark = node_mark(builder, &builder->event.start_mark);
	node->height = kind == POLICY_NODE_SCALAR ? 0 : HEIGHT_OPEN;
	node->expanded = 1;
	count_nodes(builder, 1);
	return node;
}

static void
append_item(Frame *frame, PolicyNode *item)
{
	PolicyNode *node = frame->node;
	Size		size;

	if (node->u.sequence.count == frame->capacity)
	{
		frame->capacity = Max(4, frame->capacity * 2);
		size = frame->capacity * sizeof(PolicyNode *);
		node->u.sequence.items = node->u.sequence.items ?
			repalloc(node->u.sequence.items, size) : palloc(size);
	}
	node->u.sequence.items[node->u.sequence.count++] = item;
}

static void
append_pair(Frame *frame, PolicyNode *key, PolicyNode *value)
{
	PolicyNode *node = frame->node;
	PolicyPair *pair;
	Size		size;

	if (node->u.mapping.count == frame->capacity)
	{
		frame->capacity = Max(4, frame->capacity * 2);
		size = frame->capacity * sizeof(PolicyPair);
		node->u.mapping.pairs = node->u.mapping.pairs ?
			repalloc(node->u.mapping.pairs, size) : palloc(size);
	}
	pair = &node->u.mapping.pairs[node->u.mapping.count++];
	pair->key = key;
	pair->value = value;
}

/* A key, which must be a scalar; mark is where it is written. */
static PolicyNode *
check_key(Builder *builder, PolicyNode *key, PolicyMark mark)
{
	PolicyNode *copy;

	if (key->kind != POLICY_NODE_SCALAR)
	{
		policy_diagnose(builder->diags, mark, POLICY_SEVERITY_ERROR, "bad_key",
						"Quote a text that begins with [ or {, as in \"{{ name }}\".",
						"a key must be a scalar, not a list or a mapping");
		return NULL;
	}
	if (key->mark.line == mark.line && key->mark.column == mark.column)
		return key;

	/* An alias: what is wrong with this key is to be said here. */
	copy = palloc(sizeof(PolicyNode));
	*copy = *key;
	copy->mark = mark;
	return copy;
}

/* Puts a finished node where it belongs; mark is where it is written. */
static void
attach(Builder *builder, PolicyNode *node, PolicyMark mark)
{
	Frame	   *frame;

	if (builder->depth == 0)
	{
		builder->root = node;
		return;
	}

	frame = &builder->frames[builder->depth - 1];
	frame->height = Max(frame->height, node->height + 1);
	frame->node->expanded += node->expanded;
	frame->node->bytes += node->bytes;
	if (frame->node->kind == POLICY_NODE_SEQUENCE)
		append_item(frame, node);
	else if (!frame->value_due)
	{
		frame->key = check_key(builder, node, mark);
		frame->value_due = true;
	}
	else
	{
		if (frame->key)
			append_pair(frame, frame->key, node);
		frame->value_due = false;
	}
}

/* A later anchor of the same name replaces an earlier one. */
static void
enter_anchor(Builder *builder, const yaml_char_t *anchor, PolicyNode *node)
{
	char	   *name;

	if (anchor == NULL)
		return;
	name = pstrdup((const char *) anchor);
	policy_name_table_put(&builder->anchors, name, (int) strlen(name), node);
}

static void
report_tag(Builder *builder, const char *tag, PolicyMark mark)
{
	static const char *const core = "tag:yaml.org,2002:";

	/* libyaml has resolved what is written !!str. */
	if (strncmp(tag, core, strlen(core)) == 0)
		tag = psprintf("!!%s", tag + strlen(core));
	policy_diagnose(builder->diags, mark, POLICY_SEVERITY_ERROR, "tag",
					"Remove the tag; quote a value to make it a string, or one that begins with !.",
					"tags are not allowed: \"%s\"",
					policy_excerpt(tag, (int) strlen(tag)));
}

/* Passes blanks, comments and line ends, from where a comment may begin. */
static void
skip_blank_text(PolicyCursor *cursor)
{
	bool		comment = false;

	while (!policy_cursor_at_end(cursor))
	{
		char		c = policy_cursor_peek(cursor);
		int			line = cursor->line;

		if (!comment && c == '#')
			comment = true;
		if (!comment && c != ' ' && c != '\t' && c != '\r' && c != '\n')
		{
			PolicyCursor next = *cursor;

			policy_cursor_step(&next);
			if (next.line == line)
				return;
		}
		policy_cursor_step(cursor);
		if (cursor->line != line)
			comment = false;
	}
}

/*
 * Whether the scalar of the current event is written with the tag "!", of which
 * libyaml's event says nothing: by looking at its text, past an anchor.
 */
static bool
has_bare_tag(Builder *builder)
{
	PolicyCursor cursor;

	if (!builder->has_bang)
		return false;
	policy_cursor_seek(&builder->cursor, builder->event.start_mark.index);
	cursor = builder->cursor;
	if (policy_cursor_peek(&cursor) == '&')
	{
		while (!policy_cursor_at_end(&cursor) &&
			   strchr(" \t\r\n", policy_cursor_peek(&cursor)) == NULL)
			policy_cursor_step(&cursor);
		skip_blank_text(&cursor);
	}
	return policy_cursor_peek(&cursor) == '!';
}

static void
check_tag(Builder *builder, const yaml_char_t *tag)
{
	PolicyMark	mark = node_mark(builder, &builder->event.start_mark);

	if (tag)
		report_tag(builder, (const char *) tag, mark);
	else if (builder->event.type == YAML_SCALAR_EVENT && has_bare_tag(builder))
		report_tag(builder, "!", mark);
}

static void
read_scalar(Builder *builder)
{
	const char *value = (const char *) builder->event.data.scalar.value;
	size_t		length = builder->event.data.scalar.length;
	PolicyNode *node = make_node(builder, POLICY_NODE_SCALAR);

	check_tag(builder, builder->event.data.scalar.tag);
	if (memchr(value, '\0', length) != NULL)
		policy_diagnose(builder->diags, node->mark, POLICY_SEVERITY_ERROR,
						"encoding", "Remove the escape \\0, \\x00 or \\u0000.",
						"text cannot hold the character U+0000");

	node->u.scalar.text = palloc(length + 1);
	memcpy(node->u.scalar.text, value, length);
	node->u.scalar.text[length] = '\0';
	node->u.scalar.len = (int) length;
	node->bytes = (int64) length;
	count_bytes(builder, node->bytes);
	node->u.scalar.plain =
		builder->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	enter_anchor(builder, builder->event.data.scalar.anchor, node);
	attach(builder, node, node->mark);
}

static void
open_collection(Builder *builder, PolicyNodeKind kind,
				const yaml_char_t *anchor, const yaml_char_t *tag)
{
	Frame	   *frame;

	if (builder->depth == POLICY_MAX_NESTING)
	{
		too_deep(builder);
		return;
	}
	check_tag(builder, tag);

	frame = &builder->frames[builder->depth++];
	memset(frame, 0, sizeof(Frame));
	frame->node = make_node(builder, kind);
	frame->height = 1;
	enter_anchor(builder, anchor, frame->node);
}

static bool
same_key(const PolicyNode *a, const PolicyNode *b)
{
	return a->u.scalar.len == b->u.scalar.len &&
		memcmp(a->u.scalar.text, b->u.scalar.text, a->u.scalar.len) == 0;
}

/* The key, among the first count, that key is a duplicate of; or NULL. */
static PolicyNode *
earlier_key(const PolicyNode *mapping, int count, const PolicyNode *key,
			const PolicyNameTable *table)
{
	PolicyNameEntry *entry;

	if (mapping->u.mapping.count > SMALL_MAPPING)
	{
		entry = policy_name_table_find(table, key->u.scalar.text,
									   key->u.scalar.len);
		return entry ? entry->value : NULL;
	}
	for (int i = 0; i < count; i++)
	{
		if (same_key(mapping->u.mapping.pairs[i].key, key))
			return mapping->u.mapping.pairs[i].key;
	}
	return NULL;
}

/* Reports keys that are there twice, and keeps the first of each. */
static void
remove_duplicate_keys(Builder *builder, PolicyNode *mapping)
{
	PolicyPair *pairs = mapping->u.mapping.pairs;
	PolicyNameTable table;
	int			kept = 0;

	policy_name_table_init(&table, builder->seed);
	for (int i = 0; i < mapping->u.mapping.count; i++)
	{
		PolicyNode *key = pairs[i].key;
		PolicyNode *first = earlier_key(mapping, kept, key, &table);

		CHECK_FOR_INTERRUPTS();
		if (first)
		{
			policy_diagnose(builder->diags, key->mark, POLICY_SEVERITY_ERROR,
							"duplicate_key", "Remove or rename one of the two.",
							"duplicate key \"%s\", first at %d:%d",
							policy_excerpt(key->u.scalar.text, key->u.scalar.len),
							first->mark.line, first->mark.column);
			continue;
		}
		if (mapping->u.mapping.count > SMALL_MAPPING)
			policy_name_table_put(&table, key->u.scalar.text,
								  key->u.scalar.len, key);
		pairs[kept++] = pairs[i];
	}
	mapping->u.mapping.count = kept;
	policy_name_table_free(&table);
}

static void
close_collection(Builder *builder)
{
	Frame	   *frame = &builder->frames[--builder->depth];

	frame->node->height = frame->height;
	if (frame->node->kind == POLICY_NODE_MAPPING)
		remove_duplicate_keys(builder, frame->node);
	attach(builder, frame->node, frame->node->mark);
}

static void
report_alias(Builder *builder, const char *name, PolicyMark mark, bool own)
{
	policy_diagnose(builder->diags, mark, POLICY_SEVERITY_ERROR, "bad_alias",
					own ? "An alias can only stand after the value that its anchor marks."
					: "Mark the value with an anchor (&name) before this place, or quote a text that begins with *.",
					own ? "alias \"*%s\" stands within the value of its own anchor"
					: "unknown alias \"*%s\"",
					policy_excerpt(name, (int) strlen(name)));
	builder->unusable = true;
}

static void
read_alias(Builder *builder)
{
	const char *name = (const char *) builder->event.data.alias.anchor;
	PolicyMark	mark = node_mark(builder, &builder->event.start_mark);
	PolicyNameEntry *entry = policy_name_table_find(&builder->anchors, name,
													(int) strlen(name));
	PolicyNode *target = entry ? entry->value : NULL;

	if (target == NULL || target->height == HEIGHT_OPEN)
	{
		report_alias(builder, name, mark, target != NULL);
		target = make_node(builder, POLICY_NODE_SCALAR);
		target->u.scalar.text = pstrdup("");
	}
	else
	{
		count_nodes(builder, target->expanded);
		count_bytes(builder, target->bytes);
	}

	if (builder->depth + target->height > POLICY_MAX_NESTING)
		too_deep(builder);
	else
		attach(builder, target, mark);
}

/* Whether the line at the cursor is "...", the end of a document. */
static bool
at_document_end_marker(const PolicyCursor *cursor)
{
	const char *p = cursor->text + cursor->offset;
	int			left = cursor->len - cursor->offset;

	return cursor->column == 0 && left >= 3 && memcmp(p, "...", 3) == 0 &&
		(left == 3 || strchr(" \t\r\n", p[3]) != NULL);
}

static int
line_length(const char *text, int len)
{
	int			length = 0;

	while (length < len && text[length] != '\n' && text[length] != '\r')
		length++;
	return length;
}

/*
 * What follows the document at the cursor: another one where "..." or "---"
 * parts them, else text that belongs nowhere, most often for its indentation.
 */
static void
report_rest(Builder *builder, const PolicyCursor *cursor)
{
	PolicyMark	mark = policy_source_mark(&builder->source, cursor->line,
										  cursor->column);
	const char *p = cursor->text + cursor->offset;
	int			left = cursor->len - cursor->offset;

	if (builder->event.data.document_end.implicit &&
		!(left >= 3 && memcmp(p, "---", 3) == 0))
	{
		policy_diagnose(builder->diags, mark, POLICY_SEVERITY_ERROR, "syntax",
						"Indent the keys of one mapping alike, and remove what follows a closing bracket.",
						"unexpected text after the document: \"%s\"",
						policy_excerpt(p, line_length(p, left)));
		stop(builder);
		return;
	}
	policy_diagnose(builder->diags, mark, POLICY_SEVERITY_ERROR,
					"multiple_documents",
					"Put everything in one document, and remove what follows it.",
					"a second document begins here: a policy is exactly one");
	builder->stopped = true;
}

/*
 * After the document: nothing but blanks, comments and "..." may come.  Looked
 * at in the text, since libyaml would read directives of a second document.
 */
static void
check_rest(Builder *builder)
{
	PolicyCursor *cursor = &builder->cursor;

	policy_cursor_seek(cursor, builder->event.end_mark.index);
	for (;;)
	{
		skip_blank_text(cursor);
		if (!at_document_end_marker(cursor))
			break;
		for (int i = 0; i < 3; i++)
			policy_cursor_step(cursor);
	}
	if (!policy_cursor_at_end(cursor))
		report_rest(builder, cursor);
}

/* No list of %TAG directives must come to libyaml, which compares all pairs. */
static bool
check_directives(Builder *builder)
{
	PolicyCursor cursor;

	policy_cursor_init(&cursor, builder->source.text, builder->source.len);
	for (;;)
	{
		const char *p;
		int			line;

		skip_blank_text(&cursor);
		if (cursor.column != 0 || policy_cursor_peek(&cursor) != '%')
			return true;
		p = cursor.text + cursor.offset;
		if (cursor.len - cursor.offset >= 4 && memcmp(p, "%TAG", 4) == 0)
		{
			report_tag(builder, "%TAG",
					   policy_source_mark(&builder->source, cursor.line, 0));
			return false;
		}
		line = cursor.line;
		while (!policy_cursor_at_end(&cursor) && cursor.line == line)
			policy_cursor_step(&cursor);
	}
}

static void
check_not_empty(Builder *builder)
{
	const PolicyNode *root = builder->root;

	if (root && !(root->kind == POLICY_NODE_SCALAR && root->u.scalar.plain &&
				  root->u.scalar.len == 0))
		return;
	policy_diagnose(builder->diags, document_start,
					POLICY_SEVERITY_ERROR, "empty",
					"A policy begins with \"version: v1\".",
					"document is empty");
	stop(builder);
}

static void
handle_event(Builder *builder)
{
	yaml_event_t *event = &builder->event;

	switch (event->type)
	{
		case YAML_ALIAS_EVENT:
			read_alias(builder);
			break;
		case YAML_SCALAR_EVENT:
			read_scalar(builder);
			break;
		case YAML_SEQUENCE_START_EVENT:
			open_collection(builder, POLICY_NODE_SEQUENCE,
							event->data.sequence_start.anchor,
							event->data.sequence_start.tag);
			break;
		case YAML_MAPPING_START_EVENT:
			open_collection(builder, POLICY_NODE_MAPPING,
							event->data.mapping_start.anchor,
							event->data.mapping_start.tag);
			break;
		case YAML_SEQUENCE_END_EVENT:
		case YAML_MAPPING_END_EVENT:
			close_collection(builder);
			break;
		case YAML_DOCUMENT_END_EVENT:
			check_rest(builder);
			break;
		case YAML_STREAM_END_EVENT:
			builder->stopped = true;
			break;
		default:
			break;
	}
}

static void
read_events(Builder *builder)
{
	if (!yaml_parser_initialize(&builder->parser))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	yaml_parser_set_encoding(&builder->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&builder->parser,
								 (const unsigned char *) builder->source.text,
								 builder->source.len);
	while (!builder->stopped)
	{
		CHECK_FOR_INTERRUPTS();
		yaml_event_delete(&builder->event);
		if (yaml_parser_parse(&builder->parser, &builder->event))
			handle_event(builder);
		else
		{
			policy_yaml_problem(&builder->parser, &builder->source,
								builder->diags);
			stop(builder);
		}
	}
	if (!builder->unusable)
		check_not_empty(builder);
}

static uint64
random_seed(const Builder *builder)
{
	uint64		seed;

	if (!pg_strong_random(&seed, sizeof(seed)))
		seed = (uint64) (uintptr_t) builder;
	return seed;
}

PolicyNode *
policy_yaml_parse(const char *source, int len, PolicyDiagnostics *diags)
{
	Builder    *builder;

	if (len > POLICY_MAX_SOURCE_BYTES)
	{
		policy_diagnose(diags, document_start, POLICY_SEVERITY_ERROR,
						"too_large", "Split what it decides, or shorten it.",
						"document is %d bytes long, the most is %d",
						len, POLICY_MAX_SOURCE_BYTES);
		return NULL;
	}

	builder = palloc0(sizeof(Builder));
	builder->diags = diags;
	builder->seed = random_seed(builder);
	policy_source_init(&builder->source, source, len);
	policy_cursor_init(&builder->cursor, builder->source.text,
					   builder->source.len);
	policy_name_table_init(&builder->anchors, builder->seed);
	builder->has_bang = len > 0 && memchr(source, '!', len) != NULL;
	if (!check_directives(builder))
		return NULL;

	PG_TRY();
	{
		read_events(builder);
	}
	PG_FINALLY();
	{
		yaml_event_delete(&builder->event);
		yaml_parser_delete(&builder->parser);
	}
	PG_END_TRY();

	return builder->unusable ? NULL : builder->root;
}
