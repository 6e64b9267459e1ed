/*
 * shim.c
 *	  What language/ and engine/ need of a server, without one: memory contexts
 *	  and errors.
 *
 * Every chunk is a malloc of its own, chained to its context, so that the address
 * sanitizer sees each overrun and each use after a reset.  An error jumps to the
 * innermost PG_TRY, as in the server; its message is not kept.  The rest of what
 * is needed (StringInfo, hashes, UTF-8, NFKC) is PostgreSQL's own libpgcommon.
 */
#include "shim.h"

#include <setjmp.h>

#include "common/unicode_norm.h"
#include "miscadmin.h"
#include "utils/builtins.h"

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *previous;
	MemoryContext context;
	size_t		size;
} Chunk;

/* The server's node type is opaque to what is tested: only its address counts. */
typedef struct ShimContext
{
	Chunk		chunks;			/* the head of a ring */
	struct ShimContext *parent;
	struct ShimContext *first_child;
	struct ShimContext *next_sibling;
} ShimContext;

MemoryContext CurrentMemoryContext = NULL;
MemoryContext TopMemoryContext = NULL;
sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;
volatile	sig_atomic_t InterruptPending = false;

#define SHIM(context) ((ShimContext *) (context))

static ShimContext *
new_context(ShimContext *parent)
{
	ShimContext *context = calloc(1, sizeof(ShimContext));

	context->chunks.next = context->chunks.previous = &context->chunks;
	context->parent = parent;
	if (parent)
	{
		context->next_sibling = parent->first_child;
		parent->first_child = context;
	}
	return context;
}

static void
unlink_from_parent(ShimContext *context)
{
	ShimContext **link;

	if (context->parent == NULL)
		return;
	for (link = &context->parent->first_child; *link != context; link = &(*link)->next_sibling)
		 /* on to the next */ ;
	*link = context->next_sibling;
	context->parent = NULL;
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minContextSize, Size initBlockSize, Size maxBlockSize)
{
	return (MemoryContext) new_context(SHIM(parent));
}

static void
free_chunks(ShimContext *context)
{
	while (context->chunks.next != &context->chunks)
	{
		Chunk	   *chunk = context->chunks.next;

		context->chunks.next = chunk->next;
		free(chunk);
	}
	context->chunks.previous = &context->chunks;
}

void
MemoryContextReset(MemoryContext context)
{
	while (SHIM(context)->first_child)
		MemoryContextDelete((MemoryContext) SHIM(context)->first_child);
	free_chunks(SHIM(context));
}

void
MemoryContextDelete(MemoryContext context)
{
	while (SHIM(context)->first_child)
		MemoryContextDelete((MemoryContext) SHIM(context)->first_child);
	unlink_from_parent(SHIM(context));
	free_chunks(SHIM(context));
	free(context);
}

void
MemoryContextSetParent(MemoryContext context, MemoryContext new_parent)
{
	unlink_from_parent(SHIM(context));
	SHIM(context)->parent = SHIM(new_parent);
	if (new_parent)
	{
		SHIM(context)->next_sibling = SHIM(new_parent)->first_child;
		SHIM(new_parent)->first_child = SHIM(context);
	}
}

static void *
allocate(MemoryContext context, Size size, bool zero)
{
	Chunk	   *chunk = zero ? calloc(1, sizeof(Chunk) + size) : malloc(sizeof(Chunk) + size);
	Chunk	   *head = &SHIM(context)->chunks;

	if (chunk == NULL)
		abort();
	chunk->context = context;
	chunk->size = size;
	chunk->next = head->next;
	chunk->previous = head;
	head->next->previous = chunk;
	head->next = chunk;
	return chunk + 1;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return allocate(context, size, false);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return allocate(context, size, true);
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return allocate(context, size, false);
}

void *
palloc(Size size)
{
	return allocate(CurrentMemoryContext, size, false);
}

void *
palloc0(Size size)
{
	return allocate(CurrentMemoryContext, size, true);
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	chunk->previous->next = chunk->next;
	chunk->next->previous = chunk->previous;
	free(chunk);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	void	   *result = allocate(chunk->context, size, false);

	memcpy(result, pointer, Min(size, chunk->size));
	pfree(pointer);
	return result;
}

void *
repalloc_huge(void *pointer, Size size)
{
	return repalloc(pointer, size);
}

char *
pnstrdup(const char *text, Size len)
{
	size_t		actual = strnlen(text, len);
	char	   *copy = palloc(actual + 1);

	memcpy(copy, text, actual);
	copy[actual] = '\0';
	return copy;
}

char *
pstrdup(const char *text)
{
	return pnstrdup(text, strlen(text));
}

/* Formats into buf; returns the bytes that it takes, as the server's does. */
size_t
pvsnprintf(char *buf, size_t len, const char *fmt, va_list args)
{
	int			needed = vsnprintf(buf, len, fmt, args);

	return (size_t) needed < len ? (size_t) needed : (size_t) needed + 1;
}

char *
psprintf(const char *fmt,...)
{
	char		buf[4096];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	return pstrdup(buf);
}

text *
cstring_to_text(const char *s)
{
	size_t		len = strlen(s);
	text	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), s, len);
	return result;
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	return datum;
}

/* libpgcommon's allocates with malloc outside the server. */
#undef unicode_normalize
pg_wchar *
shim_unicode_normalize(UnicodeNormalizationForm form, const pg_wchar *input)
{
	pg_wchar   *found = unicode_normalize(form, input);
	size_t		len = 0;
	pg_wchar   *result;

	while (found[len])
		len++;
	result = palloc(sizeof(pg_wchar) * (len + 1));
	memcpy(result, found, sizeof(pg_wchar) * (len + 1));
	free(found);
	return result;
}

/* The same at every run, so that an input does what it did. */
bool
pg_strong_random(void *buf, size_t len)
{
	memset(buf, 7, len);
	return true;
}

/* Errors */

static int	current_level;

bool
errstart(int elevel, const char *domain)
{
	current_level = elevel;
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
pg_re_throw(void)
{
	if (PG_exception_stack == NULL)
		abort();
	siglongjmp(*PG_exception_stack, 1);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (current_level > ERROR)
		abort();
	pg_re_throw();
}

int
errcode(int sqlerrcode)
{
	return 0;
}

int
errmsg(const char *fmt,...)
{
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	/* elog(): what cannot happen */
	abort();
}

int
errdetail(const char *fmt,...)
{
	return 0;
}

int
errdetail_internal(const char *fmt,...)
{
	return 0;
}

int
errhint(const char *fmt,...)
{
	return 0;
}

void
ProcessInterrupts(void)
{
}

void
check_stack_depth(void)
{
}

/* For the drivers */

MemoryContext
shim_begin_input(void)
{
	MemoryContext context = (MemoryContext) new_context(NULL);

	CurrentMemoryContext = context;
	TopMemoryContext = context;
	return context;
}

void
shim_end_input(MemoryContext context)
{
	MemoryContextDelete(context);
	CurrentMemoryContext = NULL;
}

bool
shim_is_text(const char *bytes, int len)
{
	for (int i = 0; i < len;)
	{
		int			n = pg_utf_mblen((const unsigned char *) bytes + i);

		if (bytes[i] == '\0' || n > len - i ||
			!pg_utf8_islegal((const unsigned char *) bytes + i, n))
			return false;
		i += n;
	}
	return true;
}
