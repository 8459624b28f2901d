/* attrs.h - attributes of declarations. Layer: base. */
#ifndef AVOW_BASE_ATTRS_H
#define AVOW_BASE_ATTRS_H

#define AVOW_MUST_CHECK __attribute__((warn_unused_result))
#define AVOW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define AVOW_UNUSED __attribute__((unused))
#define AVOW_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
