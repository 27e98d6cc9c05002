package config

// securityDefs holds the sASL, TLS, token and authorization configurations (BrokerSecurityConfigs, SaslConfigs, SslConfigs, DelegationTokenManagerConfigs).
var securityDefs = [...]Def{
	{
		Name: "authorizer.class.name", Type: TypeString,
		Doc: "Java class that decides who may do what; empty allows everything.",
	},
	{
		Name: "delegation.token.expiry.check.interval.ms", Type: TypeLong, Default: "3600000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds between two searches for expired delegation tokens.",
	},
	{
		Name: "delegation.token.expiry.time.ms", Type: TypeLong, Default: "86400000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds a delegation token is valid without being renewed.",
	},
	{
		Name: "delegation.token.max.lifetime.ms", Type: TypeLong, Default: "604800000",
		check: check{rule: atLeast, min: 1},
		Doc:   "Milliseconds after which a delegation token can no longer be renewed.",
	},
	{
		Name: "delegation.token.secret.key", Type: TypePassword, NoDefault: true,
		Doc: "Secret that signs delegation tokens; without it there are none.",
	},
	{
		Name: "principal.builder.class", Type: TypeClass, Default: "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", Update: PerBroker,
		Doc: "Java class that turns an authenticated connection into a principal.",
	},
	{
		Name: "sasl.client.callback.handler.class", Type: TypeClass, NoDefault: true,
		Doc: "Java class that answers the callbacks of SASL clients.",
	},
	{
		Name: "sasl.enabled.mechanisms", Type: TypeList, Default: "GSSAPI", Update: PerBroker,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "SASL mechanisms clients may use.",
	},
	{
		Name: "sasl.jaas.config", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Login module and its options for SASL, in the form of a JAAS entry.",
	},
	{
		Name: "sasl.kerberos.kinit.cmd", Type: TypeString, Default: "/usr/bin/kinit", Update: PerBroker,
		Doc: "Path of the Kerberos kinit command.",
	},
	{
		Name: "sasl.kerberos.min.time.before.relogin", Type: TypeLong, Default: "60000", Update: PerBroker,
		Doc: "Milliseconds between two refreshes of a Kerberos ticket, at least.",
	},
	{
		Name: "sasl.kerberos.principal.to.local.rules", Type: TypeList, Default: "DEFAULT", Update: PerBroker,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Rules that shorten Kerberos principals to user names; the first that matches wins.",
	},
	{
		Name: "sasl.kerberos.service.name", Type: TypeString, NoDefault: true, Update: PerBroker,
		Doc: "Kerberos service name of the brokers.",
	},
	{
		Name: "sasl.kerberos.ticket.renew.jitter", Type: TypeDouble, Default: "0.05", Update: PerBroker,
		Doc: "Random share of the time added to a Kerberos ticket's renewal.",
	},
	{
		Name: "sasl.kerberos.ticket.renew.window.factor", Type: TypeDouble, Default: "0.8", Update: PerBroker,
		Doc: "Share of a Kerberos ticket's life after which it is renewed.",
	},
	{
		Name: "sasl.login.callback.handler.class", Type: TypeClass, NoDefault: true,
		Doc: "Java class that answers the callbacks of a SASL login.",
	},
	{
		Name: "sasl.login.class", Type: TypeClass, NoDefault: true,
		Doc: "Java class that performs a SASL login.",
	},
	{
		Name: "sasl.login.connect.timeout.ms", Type: TypeInt, NoDefault: true,
		Doc: "Milliseconds a login waits for a connection to the identity provider.",
	},
	{
		Name: "sasl.login.read.timeout.ms", Type: TypeInt, NoDefault: true,
		Doc: "Milliseconds a login waits for an answer of the identity provider.",
	},
	{
		Name: "sasl.login.refresh.buffer.seconds", Type: TypeShort, Default: "300", Update: PerBroker,
		Doc: "Seconds before a credential expires that are kept free for its refresh.",
	},
	{
		Name: "sasl.login.refresh.min.period.seconds", Type: TypeShort, Default: "60", Update: PerBroker,
		Doc: "Seconds a login waits before it refreshes a credential, at least.",
	},
	{
		Name: "sasl.login.refresh.window.factor", Type: TypeDouble, Default: "0.8", Update: PerBroker,
		Doc: "Share of a credential's life after which it is refreshed.",
	},
	{
		Name: "sasl.login.refresh.window.jitter", Type: TypeDouble, Default: "0.05", Update: PerBroker,
		Doc: "Random share of a credential's life added before its refresh.",
	},
	{
		Name: "sasl.login.retry.backoff.max.ms", Type: TypeLong, Default: "10000",
		Doc: "Upper limit in milliseconds of the growing pause between two tries to log in.",
	},
	{
		Name: "sasl.login.retry.backoff.ms", Type: TypeLong, Default: "100",
		Doc: "Milliseconds before a failed login is tried again.",
	},
	{
		Name: "sasl.mechanism.controller.protocol", Type: TypeString, Default: "GSSAPI",
		Doc: "SASL mechanism towards controllers.",
	},
	{
		Name: "sasl.mechanism.inter.broker.protocol", Type: TypeString, Default: "GSSAPI", Update: PerBroker,
		Doc: "SASL mechanism between brokers.",
	},
	{
		Name: "sasl.oauthbearer.assertion.algorithm", Type: TypeString, Default: "RS256",
		check: check{rule: oneOfFold, words: "ES256, RS256"},
		Doc:   "Signature algorithm of a client's JWT assertion.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.aud", Type: TypeString, NoDefault: true,
		Doc: "Audience claim of a client's JWT assertion.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.exp.seconds", Type: TypeInt, Default: "300",
		check: check{rule: between, min: 0, max: 86400},
		Doc:   "Seconds a client's JWT assertion is valid.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.iss", Type: TypeString, NoDefault: true,
		Doc: "Issuer claim of a client's JWT assertion.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.jti.include", Type: TypeBoolean, Default: "false",
		Doc: "Give every JWT assertion of a client an id of its own.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.nbf.seconds", Type: TypeInt, Default: "60",
		check: check{rule: between, min: 0, max: 3600},
		Doc:   "Seconds by which a client's JWT assertion is valid before it was made.",
	},
	{
		Name: "sasl.oauthbearer.assertion.claim.sub", Type: TypeString, NoDefault: true,
		Doc: "Subject claim of a client's JWT assertion.",
	},
	{
		Name: "sasl.oauthbearer.assertion.file", Type: TypeString, NoDefault: true,
		Doc: "File with a ready-made JWT assertion.",
	},
	{
		Name: "sasl.oauthbearer.assertion.private.key.file", Type: TypeString, NoDefault: true,
		Doc: "File with the private key that signs JWT assertions.",
	},
	{
		Name: "sasl.oauthbearer.assertion.private.key.passphrase", Type: TypePassword, NoDefault: true,
		Doc: "Password of the private key that signs JWT assertions.",
	},
	{
		Name: "sasl.oauthbearer.assertion.template.file", Type: TypeString, NoDefault: true,
		Doc: "File with further headers and claims of JWT assertions.",
	},
	{
		Name: "sasl.oauthbearer.client.credentials.client.id", Type: TypeString, NoDefault: true,
		Doc: "Client id for the OAuth client-credentials grant.",
	},
	{
		Name: "sasl.oauthbearer.client.credentials.client.secret", Type: TypePassword, NoDefault: true,
		Doc: "Client secret for the OAuth client-credentials grant.",
	},
	{
		Name: "sasl.oauthbearer.clock.skew.seconds", Type: TypeInt, Default: "30",
		Doc: "Seconds by which the clocks of broker and identity provider may differ.",
	},
	{
		Name: "sasl.oauthbearer.expected.audience", Type: TypeList,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "Audiences one of which a token must name.",
	},
	{
		Name: "sasl.oauthbearer.expected.issuer", Type: TypeString, NoDefault: true,
		Doc: "Issuer a token must name.",
	},
	{
		Name: "sasl.oauthbearer.jwks.endpoint.refresh.ms", Type: TypeLong, Default: "3600000",
		Doc: "Milliseconds between two readings of the provider's key set.",
	},
	{
		Name: "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Type: TypeLong, Default: "10000",
		Doc: "Upper limit in milliseconds of the growing pause between two tries to read the key set.",
	},
	{
		Name: "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Type: TypeLong, Default: "100",
		Doc: "Milliseconds before a failed reading of the key set is tried again.",
	},
	{
		Name: "sasl.oauthbearer.jwks.endpoint.url", Type: TypeString, NoDefault: true,
		Doc: "Address of the provider's key set.",
	},
	{
		Name: "sasl.oauthbearer.jwt.retriever.class", Type: TypeClass, Default: "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
		Doc: "Java class that fetches tokens.",
	},
	{
		Name: "sasl.oauthbearer.jwt.validator.class", Type: TypeClass, Default: "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
		Doc: "Java class that checks tokens.",
	},
	{
		Name: "sasl.oauthbearer.scope", Type: TypeString, NoDefault: true,
		Doc: "Scope asked for in the OAuth client-credentials grant.",
	},
	{
		Name: "sasl.oauthbearer.scope.claim.name", Type: TypeString, Default: "scope",
		Doc: "Name of the claim that holds a token's scope.",
	},
	{
		Name: "sasl.oauthbearer.sub.claim.name", Type: TypeString, Default: "sub",
		Doc: "Name of the claim that holds a token's subject.",
	},
	{
		Name: "sasl.oauthbearer.token.endpoint.url", Type: TypeString, NoDefault: true,
		Doc: "Address at which tokens are issued.",
	},
	{
		Name: "sasl.server.callback.handler.class", Type: TypeClass, NoDefault: true,
		Doc: "Java class that answers the callbacks of the SASL server.",
	},
	{
		Name: "sasl.server.max.receive.size", Type: TypeInt, Default: "524288",
		Doc: "Largest SASL message in bytes before and during authentication.",
	},
	{
		Name: "security.inter.broker.protocol", Type: TypeString, Default: "PLAINTEXT",
		check: check{rule: oneOf, words: "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"},
		Doc:   "Security protocol between brokers; exclusive with inter.broker.listener.name.",
	},
	{
		Name: "security.providers", Type: TypeString, NoDefault: true,
		Doc: "Java classes that add security algorithms.",
	},
	{
		Name: "ssl.allow.dn.changes", Type: TypeBoolean, Default: "false",
		Doc: "Let a new key store carry another distinguished name.",
	},
	{
		Name: "ssl.allow.san.changes", Type: TypeBoolean, Default: "false",
		Doc: "Let a new key store carry other subject alternative names.",
	},
	{
		Name: "ssl.cipher.suites", Type: TypeList, Update: PerBroker,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "TLS cipher suites that may be used; empty is the library's choice.",
	},
	{
		Name: "ssl.client.auth", Type: TypeString, Default: "none", Update: PerBroker,
		check: check{rule: oneOf, words: "required, requested, none"},
		Doc:   "Whether clients must, may or need not show a certificate.",
	},
	{
		Name: "ssl.enabled.protocols", Type: TypeList, Default: "TLSv1.2,TLSv1.3", Update: PerBroker,
		check: check{rule: someWords, allowEmpty: true},
		Doc:   "TLS versions that may be used.",
	},
	{
		Name: "ssl.endpoint.identification.algorithm", Type: TypeString, Default: "https", Update: PerBroker,
		Doc: "How a server's certificate is checked against its host name; empty does not check.",
	},
	{
		Name: "ssl.engine.factory.class", Type: TypeClass, NoDefault: true, Update: PerBroker,
		Doc: "Java class that makes TLS engines.",
	},
	{
		Name: "ssl.key.password", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Secret that unlocks the private key of the server.",
	},
	{
		Name: "ssl.keymanager.algorithm", Type: TypeString, Default: "SunX509", Update: PerBroker,
		Doc: "Algorithm of the Java key manager.",
	},
	{
		Name: "ssl.keystore.certificate.chain", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Certificate chain of the server in PEM form.",
	},
	{
		Name: "ssl.keystore.key", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Private key of the server in PEM form.",
	},
	{
		Name: "ssl.keystore.location", Type: TypeString, NoDefault: true, Update: PerBroker,
		Doc: "File of the key store.",
	},
	{
		Name: "ssl.keystore.password", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Password of the key store file.",
	},
	{
		Name: "ssl.keystore.type", Type: TypeString, Default: "JKS", Update: PerBroker,
		Doc: "Format of the key store: JKS, PKCS12 or PEM.",
	},
	{
		Name: "ssl.principal.mapping.rules", Type: TypeString, Default: "DEFAULT",
		Doc: "Rules that shorten certificate names to user names; the first that matches wins.",
	},
	{
		Name: "ssl.protocol", Type: TypeString, Default: "TLSv1.3", Update: PerBroker,
		Doc: "TLS version preferred for new connections.",
	},
	{
		Name: "ssl.provider", Type: TypeString, NoDefault: true, Update: PerBroker,
		Doc: "Java security provider for TLS.",
	},
	{
		Name: "ssl.secure.random.implementation", Type: TypeString, NoDefault: true, Update: PerBroker,
		Doc: "Source of random numbers for TLS.",
	},
	{
		Name: "ssl.trustmanager.algorithm", Type: TypeString, Default: "PKIX", Update: PerBroker,
		Doc: "Algorithm of the Java trust manager.",
	},
	{
		Name: "ssl.truststore.certificates", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Trusted certificates in PEM form.",
	},
	{
		Name: "ssl.truststore.location", Type: TypeString, NoDefault: true, Update: PerBroker,
		Doc: "File of the trust store.",
	},
	{
		Name: "ssl.truststore.password", Type: TypePassword, NoDefault: true, Update: PerBroker,
		Doc: "Password of the trust store file.",
	},
	{
		Name: "ssl.truststore.type", Type: TypeString, Default: "JKS", Update: PerBroker,
		Doc: "Format of the trust store: JKS, PKCS12 or PEM.",
	},
}
