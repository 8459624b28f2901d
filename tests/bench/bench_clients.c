/* bench_clients.c - a bare librdkafka producer and consumer, without anything of ours: what a Kafka
 * client costs at least.
 *
 *   bench_clients pair     sends a record every interval and reads another topic: P7's baseline
 *   bench_clients latency  sends records and reads them back, until SIGTERM: P6's baseline; prints
 *                          one line of JSON with the times from send to receipt */
#define _POSIX_C_SOURCE 200809L
#include "avow/base/cli.h"
#include "avow/base/clock.h"
#include "avow/base/num.h"

#include <librdkafka/rdkafka.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avow/base/banned.h"

#define SAMPLES_MAX 100000u
#define WARM_UP 10u /* records that wait for connections and metadata */
#define VALUE_MAX 4096u
#define FILL 0x5A

struct options {
    bool latency;
    const char *produce, *consume;
    uint64_t partition, interval_ms, bytes;
    const char *conf[32]; /* "name=value" for both clients */
    size_t conf_count;
    const char *fetch_wait;
};

struct clients {
    rd_kafka_t *producer, *consumer;
    rd_kafka_topic_t *topic; /* produced to */
    uint8_t value[VALUE_MAX];
    double samples[SAMPLES_MAX]; /* milliseconds */
    size_t samples_count;
    uint64_t sent, failed;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_clients: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *c, const char *name, const char *value)
{
    char why[256];
    if (rd_kafka_conf_set(c, name, value, why, sizeof why) != RD_KAFKA_CONF_OK)
        fail(name, why);
}

static rd_kafka_conf_t *conf_new(const struct options *o)
{
    rd_kafka_conf_t *c = rd_kafka_conf_new();
    for (size_t i = 0; i < o->conf_count; i++) {
        char name[128];
        const char *eq = strchr(o->conf[i], '=');
        if (!eq || !avow_str_copy(name, sizeof name,
                                  (struct avow_str){o->conf[i], (size_t)(eq - o->conf[i])}))
            fail(o->conf[i], "not NAME=VALUE");
        set(c, name, eq + 1);
    }
    return c;
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *c)
{
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(type, c, why, sizeof why);
    if (!rk)
        fail("rd_kafka_new", why);
    return rk;
}

static void open_clients(struct clients *k, const struct options *o)
{
    rd_kafka_conf_t *p = conf_new(o), *c = conf_new(o);
    set(p, "enable.idempotence", "true");
    set(p, "linger.ms", "0");
    k->producer = client_new(RD_KAFKA_PRODUCER, p);
    k->topic = rd_kafka_topic_new(k->producer, o->produce, NULL);
    if (!k->topic)
        fail(o->produce, rd_kafka_err2str(rd_kafka_last_error()));
    set(c, "group.id", "bench");
    set(c, "enable.auto.commit", "false");
    set(c, "fetch.wait.max.ms", o->fetch_wait);
    k->consumer = client_new(RD_KAFKA_CONSUMER, c);
    rd_kafka_poll_set_consumer(k->consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, o->consume, (int32_t)o->partition)->offset =
        RD_KAFKA_OFFSET_END;
    rd_kafka_resp_err_t code = rd_kafka_assign(k->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        fail("assign", rd_kafka_err2str(code));
}

static void send_one(struct clients *k, const struct options *o)
{
    avow_put_u64be(k->value, avow_clock_mono_ns());
    int code = rd_kafka_produce(k->topic, (int32_t)o->partition, RD_KAFKA_MSG_F_COPY, k->value,
                                (size_t)o->bytes, "bench", 5, NULL);
    k->failed += code ? 1 : 0;
    k->sent += code ? 0 : 1;
}

static void receive_one(struct clients *k, const struct options *o, int timeout_ms)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(k->consumer, timeout_ms);
    if (!m)
        return;
    if (!m->err && o->latency && m->len == o->bytes && k->samples_count < SAMPLES_MAX) {
        struct avow_rd r = avow_rd_make(avow_bytes_make(m->payload, m->len));
        uint64_t then = avow_rd_u64be(&r), now = avow_clock_mono_ns();
        if (now > then)
            k->samples[k->samples_count++] = (double)(now - then) / 1e6;
    }
    rd_kafka_message_destroy(m);
}

static int compare(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static void print_latency(struct clients *k)
{
    size_t n = k->samples_count;
    if (n > WARM_UP)
        memmove(k->samples, k->samples + WARM_UP, (n -= WARM_UP) * sizeof *k->samples);
    qsort(k->samples, n, sizeof *k->samples, compare);
    printf("{\"samples\":%zu,\"p50\":%.2f,\"p99\":%.2f,\"max\":%.2f,\"failed\":%llu}\n", n,
           n ? k->samples[(n + 1) / 2 - 1] : 0, n ? k->samples[(n * 99 + 99) / 100 - 1] : 0,
           n ? k->samples[n - 1] : 0, (unsigned long long)k->failed);
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    return avow_num_parse_u64(avow_str_from(text), max, out) && *out >= min;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"produce", required_argument, NULL, 'p'},
                                          {"consume", required_argument, NULL, 'c'},
                                          {"partition", required_argument, NULL, 'n'},
                                          {"interval-ms", required_argument, NULL, 'i'},
                                          {"bytes", required_argument, NULL, 'b'},
                                          {"fetch-wait-ms", required_argument, NULL, 'w'},
                                          {"conf", required_argument, NULL, 'x'},
                                          {NULL, 0, NULL, 0}};
    int c;
    bool ok = true;
    *o = (struct options){.interval_ms = 1000, .bytes = 640, .fetch_wait = "500"};
    while (ok && (c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'p')
            o->produce = optarg;
        else if (c == 'c')
            o->consume = optarg;
        else if (c == 'n')
            ok = number(optarg, 0, 10000, &o->partition);
        else if (c == 'i')
            ok = number(optarg, 1, 3600000, &o->interval_ms);
        else if (c == 'b')
            ok = number(optarg, 8, VALUE_MAX, &o->bytes);
        else if (c == 'w')
            o->fetch_wait = optarg;
        else if (c == 'x' && o->conf_count < AVOW_ARRAY_LEN(o->conf))
            o->conf[o->conf_count++] = optarg;
        else
            ok = false;
    }
    if (!ok || optind + 1 != argc || !o->produce || !o->consume)
        return false;
    o->latency = avow_cstr_eq(argv[optind], "latency");
    return o->latency || avow_cstr_eq(argv[optind], "pair");
}

int main(int argc, char **argv)
{
    struct options o;
    static struct clients k;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: bench_clients --produce TOPIC --consume TOPIC [--partition N] "
                        "[--interval-ms N] [--bytes N] [--fetch-wait-ms N] [--conf NAME=VALUE]... "
                        "pair|latency\n");
        return 2;
    }
    avow_stop_install();
    memset(k.value, FILL, sizeof k.value);
    open_clients(&k, &o);
    uint64_t due = avow_clock_mono_ms() + 500; /* the consumer has found its end by then */
    while (!avow_stop_requested()) {
        uint64_t now = avow_clock_mono_ms();
        if (now >= due) {
            send_one(&k, &o);
            due = now + o.interval_ms;
        }
        rd_kafka_poll(k.producer, 0);
        /* As the agent's loop: woken by records, and every 100 ms. */
        uint64_t wait = due > now ? due - now : 0;
        receive_one(&k, &o, wait < 100 ? (int)wait : 100);
    }
    rd_kafka_flush(k.producer, 5000);
    if (o.latency)
        print_latency(&k);
    rd_kafka_topic_destroy(k.topic);
    rd_kafka_consumer_close(k.consumer);
    rd_kafka_destroy(k.consumer);
    rd_kafka_destroy(k.producer);
    return 0;
}
