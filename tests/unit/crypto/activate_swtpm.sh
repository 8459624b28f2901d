#!/bin/sh
# activate_swtpm.sh MAKE_CREDENTIAL SWTPM_SH - our MakeCredential against the ActivateCredential of a TPM that is not ours:
# RSA-2048 and P-256 EKs by the low-range templates; by the high-range ones (AES-256 with SHA-384 or SHA-512, except H-1 and
# H-2) RSA-2048, P-256, P-384, P-521 and RSA-3072: all that swtpm offers (AI9).
# Also: another AK's name, and a damaged credential, must not open. Starts and ends its own swtpm.
set -eu
make_credential=$1
swtpm_sh=$2
for tool in swtpm swtpm_setup tpm2_createek tpm2_createak tpm2_activatecredential; do
    command -v "$tool" >/dev/null || {
        echo "FAIL: $tool is missing"
        exit 1
    }
done

work=$(mktemp -d /tmp/avow-activate.XXXXXX)
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    sh "$swtpm_sh" stop "$work/tpm" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
TPM2TOOLS_TCTI=$(sh "$swtpm_sh" start "$work/tpm")
export TPM2TOOLS_TCTI
cd "$work"
head -c 32 /dev/urandom >secret
flush() {
    tpm2_flushcontext -t
    tpm2_flushcontext -s
    tpm2_flushcontext -l
}

# ek.public is a TPM2B_PUBLIC; the EK's context is in ek.handle.
make_ek() {
    case $1 in
    persistent:*)
        printf '%s' "${1#persistent:}" >ek.handle
        tpm2_readpublic -Q -c "${1#persistent:}" -o ek.public
        ;;
    high:*) # tpm2_createek has no template H-1 and H-2: PolicyB of SHA-256 (TCG EK Credential Profile 2.6, B.6.2)
        printf '\312\075\012\231\242\271\071\006\367\243\064\044\024\357\317\263' >policy_b
        printf '\243\205\324\114\321\375\105\220\211\321\233\120\161\300\267\240' >>policy_b
        tpm2_createprimary -Q -C e -c ek.ctx -G "${1#high:}:aes128cfb" -g sha256 -L policy_b \
            -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|restricted|decrypt'
        tpm2_readpublic -Q -c ek.ctx -o ek.public
        printf ek.ctx >ek.handle
        ;;
    *)
        tpm2_createek -Q -c ek.ctx -G "$1" -u ek.public
        printf ek.ctx >ek.handle
        ;;
    esac
}

# Low-range templates: PolicySecret(endorsement). High-range: userWithAuth, empty.
activate() {
    auth=$1 ak=$2 credential=$3
    rm -f activated
    if [ "$auth" = policy ]; then
        tpm2_startauthsession --policy-session -S session.ctx
        tpm2_policysecret -Q -S session.ctx -c e
        tpm2_activatecredential -Q -c "$ak" -C "$(cat ek.handle)" -i "$credential" -o activated -P session:session.ctx
    else
        tpm2_activatecredential -Q -c "$ak" -C "$(cat ek.handle)" -i "$credential" -o activated
    fi
}

failed=0
verdict() {
    echo "$1: $2"
    [ "$1" = ok ] || failed=1
}

try() {
    what=$1 ek=$2 auth=$3 ak_alg=$4
    make_ek "$ek"
    flush
    for i in 1 2; do
        if [ "$auth" = policy ]; then
            tpm2_createak -Q -C "$(cat ek.handle)" -c "ak$i.ctx" -G "$ak_alg" -g sha256 -n "ak$i.name"
        else # tpm2_createak knows low-range EKs only; any two loaded objects will do
            hierarchy=e
            [ "$i" = 1 ] || hierarchy=o
            tpm2_createprimary -Q -C "$hierarchy" -c "ak$i.ctx" -G ecc
            tpm2_readpublic -Q -c "ak$i.ctx" -n "ak$i.name"
        fi
        flush
    done
    "$make_credential" ek.public ak1.name secret credential
    if activate "$auth" ak1.ctx credential && cmp -s secret activated; then
        verdict ok "$what: the TPM opens our credential"
    else
        verdict FAIL "$what: the TPM does not open our credential"
    fi
    flush
    if activate "$auth" ak2.ctx credential 2>/dev/null; then
        verdict FAIL "$what: opened for another object"
    else
        verdict ok "$what: refused for another object"
    fi
    flush
    cp credential damaged # byte 20 is in the HMAC
    printf '\377\377\377\377' | dd of=damaged bs=1 seek=20 conv=notrunc 2>/dev/null
    if activate "$auth" ak1.ctx damaged 2>/dev/null; then
        verdict FAIL "$what: a damaged credential opens"
    else
        verdict ok "$what: a damaged credential is refused"
    fi
    flush
}

try "RSA-2048 EK (L-1)" rsa policy rsa
try "P-256 EK (L-2)" ecc policy ecc
try "RSA-2048 EK (H-1)" high:rsa2048 none -
try "P-256 EK (H-2)" high:ecc256 none -
try "P-384 EK (H-3)" persistent:0x81010016 none -
try "P-521 EK (H-4)" ecc521 none -
try "RSA-3072 EK (H-6)" rsa3072 none -
exit $failed
