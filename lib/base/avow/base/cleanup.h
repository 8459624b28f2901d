/* cleanup.h - scoped ownership. Layer: base.
 * The only place that hides compiler extensions: the cleanup attribute and one statement
 * expression. */
#ifndef AVOW_BASE_CLEANUP_H
#define AVOW_BASE_CLEANUP_H

/* Declares AVOW_CLEANUP(fn)'s helper for a `void fn(T *)`; use once per type, next to the type. */
#define AVOW_DEFINE_CLEANUP(type, fn)                                                              \
    static inline void fn##_cleanup(type **p)                                                      \
    {                                                                                              \
        fn(*p);                                                                                    \
    }                                                                                              \
    struct fn##_cleanup_semicolon

/* A pointer variable that `fn` frees when it goes out of scope. */
#define AVOW_CLEANUP(fn) __attribute__((cleanup(fn##_cleanup)))

/* A struct variable (not a pointer) whose address `fn` receives when it goes out of scope. */
#define AVOW_CLEANUP_VAL(fn) __attribute__((cleanup(fn)))

/* Moves ownership out of a cleanup variable. */
#define AVOW_STEAL(p)                                                                              \
    __extension__({                                                                                \
        __typeof__(p) avow_steal_tmp = (p);                                                        \
        (p) = NULL;                                                                                \
        avow_steal_tmp;                                                                            \
    })

#endif
