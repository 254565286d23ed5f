//! The ARNs of S3 access points (Amazon S3 User Guide, "Using access points").

use crate::client::partition::{dns_suffix, is_partition};
use crate::config::AwsEndpoint;

/// An access point, as its ARN names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessPoint {
    kind: Kind,
    pub(crate) region: String,
    account: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Of a bucket.
    Bucket,
    /// Of an Object Lambda function.
    ObjectLambda,
    /// Of the Outpost with this id.
    Outpost(String),
}

/// An ARN that leads to no access point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// The text is not the ARN of an access point.
    #[error(
        "`{0}` is not the ARN of an access point: expected `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME`, or the same of \
         `s3-object-lambda` or `s3-outposts`"
    )]
    Unknown(String),
    /// The ARN is that of a multi-region access point.
    #[error(
        "`{0}` is a multi-region access point, which needs signatures of version 4A: use one of its regions"
    )]
    MultiRegion(String),
}

impl AccessPoint {
    /// Parses an ARN.
    pub(crate) fn parse(arn: &str) -> Result<Self, ArnError> {
        let unknown = || ArnError::Unknown(arn.to_owned());
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, service, region, account, resource] = parts[..] else { return Err(unknown()) };
        if region.is_empty() && resource.rsplit('.').next() == Some("mrap") {
            return Err(ArnError::MultiRegion(arn.to_owned()));
        }
        let resource: Vec<&str> = resource.split(['/', ':']).collect();
        let (kind, name) = match (service, &resource[..]) {
            ("s3", ["accesspoint", name]) => (Kind::Bucket, name),
            ("s3-object-lambda", ["accesspoint", name]) => (Kind::ObjectLambda, name),
            ("s3-outposts", ["outpost", outpost, "accesspoint", name]) if is_label(outpost) => {
                (Kind::Outpost((*outpost).to_owned()), name)
            }
            _ => return Err(unknown()),
        };
        if !is_partition(partition) || ![region, account, name].into_iter().all(is_label) {
            return Err(unknown());
        }
        let [region, account, name] = [region, account, name].map(str::to_owned);
        Ok(Self { kind, region, account, name })
    }

    /// Returns the first labels of the host name.
    pub(crate) fn label(&self) -> String {
        let Self { kind, account, name, .. } = self;
        match kind {
            Kind::Bucket | Kind::ObjectLambda => format!("{name}-{account}"),
            Kind::Outpost(outpost) => format!("{name}-{account}.{outpost}"),
        }
    }

    /// Returns the host name on AWS.
    pub(crate) fn host(&self, aws: AwsEndpoint) -> String {
        let service = match self.kind {
            Kind::Bucket => "s3-accesspoint",
            Kind::ObjectLambda | Kind::Outpost(_) => self.service(),
        };
        let fips = if aws.fips { "-fips" } else { "" };
        let stack = if aws.dualstack { ".dualstack" } else { "" };
        format!("{}.{service}{fips}{stack}.{}.{}", self.label(), self.region, dns_suffix(&self.region))
    }

    /// Returns the service that requests are signed for.
    pub(crate) fn service(&self) -> &'static str {
        match self.kind {
            Kind::Bucket => "s3",
            Kind::ObjectLambda => "s3-object-lambda",
            Kind::Outpost(_) => "s3-outposts",
        }
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, aws: AwsEndpoint, host: &str, service: &str) {
        let point = AccessPoint::parse(arn).unwrap();
        assert_eq!((&*point.host(aws), point.service()), (host, service));
    }

    #[test]
    fn every_kind_has_its_host() {
        let none = AwsEndpoint::default();
        let bucket = "arn:aws:s3:us-west-2:123456789012:accesspoint/my-point";
        check(bucket, none, "my-point-123456789012.s3-accesspoint.us-west-2.amazonaws.com", "s3");
        check(
            &bucket.replace("accesspoint/", "accesspoint:"),
            AwsEndpoint { fips: true, dualstack: true, ..none },
            "my-point-123456789012.s3-accesspoint-fips.dualstack.us-west-2.amazonaws.com",
            "s3",
        );
        check(
            "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/p",
            none,
            "p-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn",
            "s3",
        );
        check(
            "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/p",
            none,
            "p-123456789012.s3-object-lambda.eu-west-1.amazonaws.com",
            "s3-object-lambda",
        );
        check(
            "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-01/accesspoint/p",
            none,
            "p-123456789012.op-01.s3-outposts.eu-west-1.amazonaws.com",
            "s3-outposts",
        );
    }

    #[test]
    fn other_arns_are_refused() {
        let mrap = "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap";
        assert!(matches!(AccessPoint::parse(mrap), Err(ArnError::MultiRegion(_))));
        for arn in [
            "arn:aws:s3:::bucket",
            "arn:aws:s3:us-west-2:123456789012:bucket/b",
            "arn:aws:s3:us-west-2::accesspoint/p",
            "arn:aws:iam:us-west-2:123456789012:accesspoint/p",
            "arn:other:s3:us-west-2:123456789012:accesspoint/p",
            "arn:aws:s3:us-west-2:123456789012:accesspoint/p.q",
            "arn:",
        ] {
            assert!(matches!(AccessPoint::parse(arn), Err(ArnError::Unknown(_))), "{arn}");
        }
    }
}
