/*
 * cppcheck.h
 *	  What cppcheck must know of the server, whose headers it does not read.
 */
#include <stdlib.h>

#define ERROR 21
#define ereport(elevel, ...) do { if ((elevel) >= ERROR) abort(); } while (0)
#define elog(elevel, ...) ereport(elevel)
