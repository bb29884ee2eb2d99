package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dockline/e2e/certificate"
)

// tokenService is distribution's "Token Authentication" for one account, which may do everything.
type tokenService struct {
	server *http.Server
	key    tls.Certificate
	url    string
}

const username, password = "release-manager", "bench"

// startTokens writes the certificate that everything in the row is trusted by, and its key, into dir.
func startTokens(dir string) (*tokenService, *login, *access, error) {
	made, err := certificate.New()
	if err != nil {
		return nil, nil, nil, err
	}
	guarded := &access{certificateFile: filepath.Join(dir, "ca.pem"), keyFile: filepath.Join(dir, "key.pem")}
	if err := errors.Join(os.WriteFile(guarded.certificateFile, made.CertificatePEM, 0o600), os.WriteFile(guarded.keyFile, made.KeyPEM, 0o600)); err != nil {
		return nil, nil, nil, err
	}
	pair, err := made.TLS()
	if err != nil {
		return nil, nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, nil, err
	}
	service := &tokenService{key: pair, url: listener.Addr().String()}
	service.server = &http.Server{
		Handler: service, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = service.server.ServeTLS(listener, "", "") }()
	return service, &login{username, password, guarded.certificateFile}, guarded, nil
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, given, _ := r.BasicAuth()
	if r.Form.Get("grant_type") == "password" {
		user, given = r.Form.Get("username"), r.Form.Get("password")
	}
	if user != username || given != password {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	var granted []map[string]any
	for _, scope := range strings.Fields(strings.Join(r.Form["scope"], " ")) {
		if parts := strings.Split(scope, ":"); len(parts) == 3 {
			granted = append(granted, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
		}
	}
	token, err := s.sign(map[string]any{
		"iss": "bench", "sub": user, "aud": "bench", "jti": fmt.Sprint(time.Now().UnixNano()), "access": granted,
		"nbf": time.Now().Add(-time.Minute).Unix(), "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": 300})
}

// sign makes a JSON Web Token (RFC 7519) by ES256, which carries its certificate.
func (s *tokenService) sign(claims map[string]any) (string, error) {
	header := map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(s.key.Certificate[0])}}
	var parts []string
	for _, part := range []map[string]any{header, claims} {
		content, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(content))
	}
	text := strings.Join(parts, ".")
	digest := sha256.Sum256([]byte(text))
	key, ok := s.key.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return "", errors.New("the certificate's key is not of ECDSA")
	}
	first, second, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	first.FillBytes(signature[:32])
	second.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// variables let every tool in, each in its way.
func (l *login) variables(what task) ([]string, error) {
	entry := map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(l.username + ":" + l.password))}
	content, err := json.Marshal(map[string]any{"auths": map[string]any{what.source: entry, what.target: entry}})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(what.home, "config.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, err
	}
	variables := []string{"DOCKER_CONFIG=" + what.home, "REGISTRY_AUTH_FILE=" + file, "SSL_CERT_FILE=" + l.caFile}
	for _, side := range []string{"SOURCE_", "TARGET_"} {
		variables = append(variables, side+"REGISTRY_USERNAME="+l.username, side+"REGISTRY_PASSWORD="+l.password, side+"REGISTRY_CA_FILE="+l.caFile)
	}
	return variables, nil
}
