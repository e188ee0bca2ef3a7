FROM debian:bookworm-slim
COPY jre /opt/java
ENV PATH=/opt/java/bin:/usr/local/bin:/usr/bin:/bin JAVA_HOME=/opt/java
