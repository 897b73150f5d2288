package journal

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // authorities sign with it too
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Time stamps are those of RFC 3161: an authority signs that it has seen a digest, and when. The token is a CMS SignedData
// (RFC 5652) around a TSTInfo. What is stamped is the JSON of a checkpoint, as it lies beside the stamp.

var (
	oidSHA256          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512          = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	oidSignedData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidRSA             = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSAWithSHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidSHA384WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	oidSHA512WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
)

type imprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Digest    []byte
}

type stampRequest struct {
	Version  int
	Imprint  imprint
	Nonce    *big.Int
	WantCert bool
}

type stampResponse struct {
	Status struct {
		Status int
		Text   []asn1.RawValue `asn1:"optional"`
		Fail   asn1.BitString  `asn1:"optional"`
	}
	Token asn1.RawValue `asn1:"optional"`
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version      int
	Digests      asn1.RawValue `asn1:"set"`
	Content      contentOctets
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue `asn1:"optional,tag:1"`
	Signers      []signerInfo  `asn1:"set"`
}

type contentOctets struct {
	Type   asn1.ObjectIdentifier
	Octets []byte `asn1:"explicit,tag:0"`
}

type signerInfo struct {
	Version    int
	Signer     asn1.RawValue
	Digest     pkix.AlgorithmIdentifier
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	Algorithm  pkix.AlgorithmIdentifier
	Signature  []byte
	Unsigned   asn1.RawValue `asn1:"optional,tag:1"`
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue `asn1:"set"`
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type stampInfo struct {
	Version    int
	Policy     asn1.ObjectIdentifier
	Imprint    imprint
	Serial     *big.Int
	Time       time.Time     `asn1:"generalized"`
	Accuracy   accuracy      `asn1:"optional"`
	Ordering   bool          `asn1:"optional"`
	Nonce      *big.Int      `asn1:"optional"`
	Authority  asn1.RawValue `asn1:"optional,tag:0"`
	Extensions asn1.RawValue `asn1:"optional,tag:1"`
}

type accuracy struct {
	Seconds int `asn1:"optional"`
	Millis  int `asn1:"optional,tag:0"`
	Micros  int `asn1:"optional,tag:1"`
}

// newStampRequest asks for a stamp of content; the nonce is what the answer has to repeat.
func newStampRequest(content []byte) (der []byte, nonce *big.Int, err error) {
	var random [8]byte
	rand.Read(random[:])
	nonce = new(big.Int).SetBytes(random[:])
	sum := sha256.Sum256(content)
	der, err = asn1.Marshal(stampRequest{1, imprint{pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}, sum[:]}, nonce, true})
	return der, nonce, err
}

// stamp is an answer of an authority, taken apart.
type stamp struct {
	info stampInfo
	data signedData
}

var errStamp = errors.New("the time stamp cannot be read")

// parseStamp reads a TimeStampResp, and holds what it is about against content.
func parseStamp(der, content []byte) (*stamp, error) {
	var response stampResponse
	if rest, err := asn1.Unmarshal(der, &response); err != nil || len(rest) > 0 {
		return nil, errStamp
	}
	if s := response.Status.Status; s != 0 && s != 1 { // granted, granted with modifications
		return nil, fmt.Errorf("the authority has not granted the time stamp: status %d", s)
	}
	var outer contentInfo
	if rest, err := asn1.Unmarshal(response.Token.FullBytes, &outer); err != nil || len(rest) > 0 || !outer.Type.Equal(oidSignedData) {
		return nil, errStamp
	}
	s := &stamp{}
	if rest, err := asn1.Unmarshal(outer.Content.Bytes, &s.data); err != nil || len(rest) > 0 || !s.data.Content.Type.Equal(oidTSTInfo) {
		return nil, errStamp
	}
	if rest, err := asn1.Unmarshal(s.data.Content.Octets, &s.info); err != nil || len(rest) > 0 {
		return nil, errStamp
	}
	sum := sha256.Sum256(content)
	if !s.info.Imprint.Algorithm.Algorithm.Equal(oidSHA256) || !bytes.Equal(s.info.Imprint.Digest, sum[:]) {
		return nil, errors.New("the time stamp is of something else")
	}
	return s, nil
}

// check holds the signature against the authorities that are trusted: the signer's certificate must lead to one of roots and be for
// time stamps, as it was then.
func (s *stamp) check(roots *x509.CertPool) error {
	if len(s.data.Signers) != 1 {
		return fmt.Errorf("the time stamp has %d signatures; expected 1", len(s.data.Signers))
	}
	certificates, err := x509.ParseCertificates(s.data.Certificates.Bytes)
	if err != nil {
		return fmt.Errorf("the time stamp's certificates cannot be read: %w", err)
	}
	signer := &s.data.Signers[0]
	var name issuerAndSerial
	if rest, err := asn1.Unmarshal(signer.Signer.FullBytes, &name); err != nil || len(rest) > 0 {
		return errStamp
	}
	var by *x509.Certificate
	between := x509.NewCertPool()
	for _, c := range certificates {
		if c.SerialNumber.Cmp(name.Serial) == 0 && bytes.Equal(c.RawIssuer, name.Issuer.FullBytes) {
			by = c
		} else {
			between.AddCert(c)
		}
	}
	if by == nil {
		return errors.New("the time stamp does not carry the certificate that it is signed with")
	}
	if err := signer.check(by, s.data.Content.Octets); err != nil {
		return err
	}
	if _, err := by.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: s.info.Time, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}); err != nil {
		return fmt.Errorf("the time stamp's authority is not trusted: %w", err)
	}
	return nil
}

// check holds a signature, of attributes that hold the digest of content, against a certificate.
func (s *signerInfo) check(by *x509.Certificate, content []byte) error {
	digest, ok := hashOf(s.Digest.Algorithm)
	if !ok || len(s.Attributes.FullBytes) == 0 {
		return errors.New("the time stamp is signed in a way that is not known here")
	}
	var digested, typed bool
	for rest := s.Attributes.Bytes; len(rest) > 0; {
		var a attribute
		var err error
		if rest, err = asn1.Unmarshal(rest, &a); err != nil {
			return errStamp
		}
		switch {
		case a.Type.Equal(oidMessageDigest):
			var sum []byte
			h := digest.New()
			h.Write(content)
			_, err = asn1.Unmarshal(a.Values.Bytes, &sum)
			digested = err == nil && bytes.Equal(sum, h.Sum(nil))
		case a.Type.Equal(oidContentType):
			var is asn1.ObjectIdentifier
			_, err = asn1.Unmarshal(a.Values.Bytes, &is)
			typed = err == nil && is.Equal(oidTSTInfo)
		}
	}
	if !digested || !typed {
		return errors.New("the time stamp's signature is of something else")
	}
	algorithm, ok := signatureOf(s.Algorithm.Algorithm, digest)
	if !ok {
		return errors.New("the time stamp is signed in a way that is not known here")
	}
	signed := bytes.Clone(s.Attributes.FullBytes)
	signed[0] = 0x31 // RFC 5652, 5.4: signed is the SET itself, not its implicit tag
	if err := by.CheckSignature(algorithm, signed, s.Signature); err != nil {
		return fmt.Errorf("the time stamp's signature does not hold: %w", err)
	}
	return nil
}

func hashOf(algorithm asn1.ObjectIdentifier) (crypto.Hash, bool) {
	switch {
	case algorithm.Equal(oidSHA256):
		return crypto.SHA256, true
	case algorithm.Equal(oidSHA384):
		return crypto.SHA384, true
	case algorithm.Equal(oidSHA512):
		return crypto.SHA512, true
	}
	return 0, false
}

func signatureOf(algorithm asn1.ObjectIdentifier, digest crypto.Hash) (x509.SignatureAlgorithm, bool) {
	for _, known := range []struct {
		algorithm asn1.ObjectIdentifier
		digest    crypto.Hash
		is        x509.SignatureAlgorithm
	}{
		{oidSHA256WithRSA, crypto.SHA256, x509.SHA256WithRSA}, {oidSHA384WithRSA, crypto.SHA384, x509.SHA384WithRSA}, {oidSHA512WithRSA, crypto.SHA512, x509.SHA512WithRSA},
		{oidRSA, crypto.SHA256, x509.SHA256WithRSA}, {oidRSA, crypto.SHA384, x509.SHA384WithRSA}, {oidRSA, crypto.SHA512, x509.SHA512WithRSA},
		{oidECDSAWithSHA256, crypto.SHA256, x509.ECDSAWithSHA256}, {oidECDSAWithSHA384, crypto.SHA384, x509.ECDSAWithSHA384}, {oidECDSAWithSHA512, crypto.SHA512, x509.ECDSAWithSHA512},
	} {
		if algorithm.Equal(known.algorithm) && digest == known.digest {
			return known.is, true
		}
	}
	return 0, false
}
