/* inflate_guard.h - bounds what a compressed batch may become. Layer: bus; of bus_kafka only. */
#ifndef AVOW_BUS_INFLATE_GUARD_H
#define AVOW_BUS_INFLATE_GUARD_H

/* librdkafka inflates a batch whole before anybody sees its first record, zstd up to
 * receive.message.max.bytes, gzip and lz4 without a bound: 300 kB became 300 MB (measured). It has
 * no setting for that. But it calls zlib and lz4 as shared libraries, so that a program can stand
 * in between: beyond AVOW_BUS_INFLATED_MAX they say that the data is bad, which librdkafka reports
 * and survives. Calling this links the functions in; it does nothing else. A librdkafka that
 * brings these libraries along inside itself is not bounded. */
void avow_inflate_guard(void);

#endif
